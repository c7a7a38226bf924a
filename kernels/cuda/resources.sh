#!/usr/bin/env bash
# What the compiler says of the kernels: registers, stack, spills and static shared memory, for one architecture (default sm_90) of the objects in
# FOLDER. Fails if a kernel spills registers on any architecture.
#   kernels/cuda/resources.sh FOLDER [sm_NN]
set -euo pipefail
folder=$1 architecture=${2:-sm_90}
mapfile -t reports < <(find "$folder" -name '*.resources' | sort)
((${#reports[@]} > 0)) || { echo "resources.sh: no *.resources in $folder; build the CUDA kernels first: native/build.sh cuda" >&2; exit 2; }
awk -v architecture="$architecture" '
  /Compiling entry function/ { match($0, /\047[^\047]+\047 for \047[^\047]+\047/); split(substr($0, RSTART), part, "\047"); kernel = part[2]; on = part[4] }
  /bytes stack frame/ { stack = $1; spilled = $5 + $9; if (spilled > 0) spills[kernel " on " on] = spilled }
  /Used [0-9]+ registers/ {
    if (on == architecture) {
      shared = 0
      if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH - 11)
      match($0, /Used [0-9]+/)
      printf "%s %s %s %s\n", substr($0, RSTART + 5, RLENGTH - 5), shared, stack, kernel
    }
  }
  END { for (kernel in spills) { print "SPILLS " spills[kernel] " bytes: " kernel > "/dev/stderr"; failed = 1 }; exit failed }
' "${reports[@]}" | sort -rn | { echo "registers, static shared memory (bytes), stack (bytes), kernel on $architecture:"; c++filt; }
