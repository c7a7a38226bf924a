#!/usr/bin/env bash
# Builds the native libraries, as far as they are out of date.
#   native/build.sh libraries  what training needs here: the CPU library in build/native/lib and, where an NVIDIA driver and nvcc are, the CUDA
#                              library for this machine's GPU in build/kernels/lib. The default
#   native/build.sh simt       the CPU library, and the emulated CUDA library that the Java tests use
#   native/build.sh cuda       the CUDA library for all architectures; needs nvcc, but no GPU
#   native/build.sh distribution   the CUDA library as a distribution has it, in build/distribution: one machine code per generation
#   native/build.sh tests      all of them (CUDA where nvcc is), and the native tests; ctest --test-dir build runs them
#   native/build.sh sanitize   the tests, with AddressSanitizer and UndefinedBehaviorSanitizer, in build/sanitize
#   native/build.sh races      the tests of CUDA kernels, with ThreadSanitizer, in build/races
# oneDNN comes from native/target/onednn, where the Maven build of this folder unpacks it.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tools/environment.sh"
build=$root/build
options=(-DGATUN_ONEDNN_ROOT="$root/native/target/onednn")
all_architectures="80;86;89;90;100;120"
variant=${1:-}

require_nvcc() {
  [[ -n ${CUDACXX:-} ]] || fail "no nvcc found in PATH, CUDA_HOME, CUDA_PATH or /usr/local/cuda; install the CUDA Toolkit, or set CUDACXX to its nvcc"
}

find_nvcc || true
case $variant in
  "" | libraries)
    targets=(gatun_cpu)
    if [[ -r /proc/driver/nvidia/version && -n ${CUDACXX:-} ]]; then
      targets+=(gatun_cuda)
      here=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | tr -d '. ' | sort -u | paste -sd ';' || true)
      options+=(-DGATUN_CUDA_ARCHITECTURES="${here:-$all_architectures}")
    fi
    ;;
  simt) targets=(gatun_cpu gatun_simt) ;;
  cuda)
    require_nvcc
    targets=(gatun_cuda)
    options+=(-DGATUN_CUDA_ARCHITECTURES="$all_architectures")
    ;;
  distribution)
    require_nvcc
    build=$root/build/distribution
    targets=(gatun_cuda)
    # Code for 8.0 runs on 8.6 and 8.9 as well.
    options+=(-DGATUN_CUDA_ARCHITECTURES="80;90;100;120" -DGATUN_BUILD_TESTS=OFF)
    ;;
  tests)
    targets=(all)
    options+=(-DGATUN_CUDA_ARCHITECTURES="$all_architectures")
    ;;
  sanitize)
    build=$root/build/sanitize
    targets=(all)
    options+=(-DGATUN_SANITIZE=ON -DGATUN_CUDA=OFF)
    ;;
  races)
    build=$root/build/races
    targets=(all)
    options+=(-DGATUN_SANITIZE=thread -DGATUN_CUDA=OFF)
    ;;
  *) fail "unknown variant '$variant', expected libraries, simt, cuda, distribution, tests, sanitize or races" ;;
esac

if [[ ! -f $build/CMakeCache.txt && -z ${CMAKE_GENERATOR:-} ]] && command -v ninja > /dev/null; then
  export CMAKE_GENERATOR=Ninja
fi
cmake -S "$root" -B "$build" --log-level=WARNING "${options[@]}" > /dev/null
cmake --build "$build" --target "${targets[@]}" --parallel "$(getconf _NPROCESSORS_ONLN)"
