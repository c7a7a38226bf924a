#!/bin/sh
# usage: symbols.sh LEVEL OBJECT...
# The linker keeps one copy of a weak symbol, from whichever object. In an object compiled for one instruction set, each must therefore
# lie in that instruction set's namespace: a shared template (of the standard library, say) could bring AVX-512 to a CPU without it.
set -eu
level=$1
shift
foreign=$(nm --defined-only -C "$@" | grep -E ' [WVu] ' | grep -v 'DW\.ref\.__gxx_personality_v0' | grep -v "gatun::$level::" || true)
if [ -n "$foreign" ]; then
  printf 'weak symbols outside gatun::%s:\n%s\n' "$level" "$foreign" >&2
  exit 1
fi
