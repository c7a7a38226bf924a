#!/bin/sh
# Gatun's command line, as installed: all that it runs lies beside this folder, and nothing is unpacked.
# GATUN_JAVA_OPTS: further options for the Java virtual machine.
set -eu

program=$0
case $program in */*) ;; *) program=./$program ;; esac
while [ -L "$program" ]; do
  target=$(readlink "$program")
  case $target in /*) program=$target ;; *) program=${program%/*}/$target ;; esac
done
root=$(CDPATH='' cd -P -- "${program%/*}/.." && pwd)

# The second compiler's thread would take a core from the kernels for the first steps, and what is hot is native; a GPU's launches are worth it.
compilers=
[ -r /proc/driver/nvidia/version ] || compilers=-XX:TieredStopAtLevel=1

# Weights and activations are outside the heap, and the threads are the kernels'.
# shellcheck disable=SC2086 # several options in one variable
exec "$root/runtime/bin/java" --enable-native-access=ALL-UNNAMED -XX:+UseSerialGC -XX:MaxRAMPercentage=25 $compilers \
  ${GATUN_JAVA_OPTS:-} -jar "$root/gatun.jar" "$@"
