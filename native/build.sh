#!/usr/bin/env bash
# Builds the native libraries, as far as they are out of date.
#   native/build.sh            the libraries, optimised, in build/native/lib
#   native/build.sh tests      their tests too; ctest --test-dir build runs them
#   native/build.sh sanitize   both, with AddressSanitizer and UndefinedBehaviorSanitizer, in build/sanitize
# oneDNN comes from native/target/onednn, where the Maven build of this folder unpacks it.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
options=()
target=all
case ${1:-} in
  "") target=gatun_cpu ;;
  tests) ;;
  sanitize)
    build=$root/build/sanitize
    options=(-DGATUN_SANITIZE=ON)
    ;;
  *)
    echo "native/build.sh: unknown variant '$1', expected none, 'tests' or 'sanitize'" >&2
    exit 2
    ;;
esac

if [[ ! -f $build/CMakeCache.txt ]]; then
  if [[ -z ${CMAKE_GENERATOR:-} ]] && command -v ninja > /dev/null; then
    export CMAKE_GENERATOR=Ninja
  fi
  cmake -S "$root" -B "$build" -DGATUN_ONEDNN_ROOT="$root/native/target/onednn" ${options[@]+"${options[@]}"}
fi
cmake --build "$build" --target "$target" --parallel "$(getconf _NPROCESSORS_ONLN)"
