#!/usr/bin/env bash
# Runs the CUDA compiler ("$@"), keeping what it says of registers, shared memory and spills beside the object: <object>.resources
set -uo pipefail
object=
for ((i = 1; i < $#; i++)); do
  if [[ ${!i} == -o ]]; then
    next=$((i + 1))
    object=${!next}
  fi
done
report=${object:-/dev/null}
[[ -n $object ]] && report=$object.resources
if ! "$@" --resource-usage > "$report" 2>&1; then
  cat "$report" >&2
  exit 1
fi
grep -i 'warning' "$report" >&2 || true
