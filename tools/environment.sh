# What ./gatun and ./check share: finding the tools that a build needs, and Maven. Sourced with $root set.

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Major version of the JDK in folder $1, from its release file: starting Java would take longer than a whole up-to-date check.
jdk_major() {
  [[ -x $1/bin/javac && -f $1/release ]] || return 1
  sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release"
}

# Sets and exports JAVA_HOME: a JDK 25 or newer.
find_jdk() {
  local candidate major path_java=
  if command -v javac > /dev/null; then
    path_java=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
  fi
  for candidate in "${JAVA_HOME:-}" "$path_java" /usr/lib/jvm/* /usr/java/* /opt/java/* /opt/* \
    "${HOME:-}"/.sdkman/candidates/java/* "${HOME:-}"/.jdks/* "${HOME:-}"/.local/share/mise/installs/java/* \
    /Library/Java/JavaVirtualMachines/*/Contents/Home /opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home; do
    major=$(jdk_major "$candidate") || continue
    if [[ -n $major ]] && ((major >= 25)); then
      export JAVA_HOME=$candidate
      return
    fi
  done
  fail "no JDK 25 found in JAVA_HOME, PATH, /usr/lib/jvm, /opt, ~/.sdkman or ~/.jdks; get one from https://adoptium.net (or: sdk install java 25-tem) and set JAVA_HOME"
}

require_native_tools() {
  local missing=()
  command -v cmake > /dev/null || missing+=(cmake)
  command -v ninja > /dev/null || command -v make > /dev/null || missing+=(ninja-build)
  command -v "${CXX:-c++}" > /dev/null || command -v g++ > /dev/null || command -v clang++ > /dev/null || missing+=(g++)
  ((${#missing[@]} == 0)) ||
    fail "the native libraries need what is not here: ${missing[*]}; install with: sudo apt-get install ${missing[*]} (or your system's packages of that name)"
}

# Sets and exports CUDACXX, CMake's name for the CUDA compiler, where one is found.
find_nvcc() {
  local candidate
  for candidate in "${CUDACXX:-}" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" "${CUDA_PATH:+$CUDA_PATH/bin/nvcc}" "$(command -v nvcc || true)" \
    /usr/local/cuda/bin/nvcc; do
    if [[ -n $candidate ]] && command -v "$candidate" > /dev/null; then
      export CUDACXX=$candidate
      return
    fi
  done
  unset CUDACXX
  return 1
}

maven() {
  local options=(--batch-mode --no-transfer-progress)
  # Its libraries reach into the JDK; the warnings about it are not ours to act on.
  export MAVEN_OPTS="${MAVEN_OPTS:-} --sun-misc-unsafe-memory-access=allow --enable-native-access=ALL-UNNAMED"
  # A home that cannot be written to has no place for Maven's repository.
  if ! mkdir -p "${HOME:-/nonexistent}/.m2/repository" 2> /dev/null || [[ ! -w $HOME/.m2/repository ]]; then
    options+=(-Dmaven.repo.local="$root/build/maven-repository")
    export MAVEN_USER_HOME=$root/build/maven
  fi
  (cd "$root" && ./mvnw "${options[@]}" "$@")
}
