#!/usr/bin/env bash
# The tests that need a GPU, on this machine's, from a distribution and its tests, unpacked into one folder: needs neither a JDK nor Maven. Writes one file of results.
#   bin/check-gpu [--results FOLDER]          FOLDER: where the file goes; the current one if it is not named
#   bin/check-gpu --simt [--results FOLDER]   the same on the emulation of a GPU, to test this script where there is none
# The tests tagged gpu, in f32 and bf16; those of the kernels again under compute-sanitizer; the speed of training steps. No GPU is a failure.
set -uo pipefail

fail() {
  echo "check-gpu: $*" >&2
  exit 1
}

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
command="check-gpu${*:+ $*}"
provider=device results=$PWD
while (($# > 0)); do
  case $1 in
    --simt) provider=simt ;;
    --results)
      (($# > 1)) || fail "--results needs a folder"
      results=$2
      shift
      ;;
    *) fail "unknown option '$1'; expected --simt or --results FOLDER" ;;
  esac
  shift
done
[[ -d $results && -w $results ]] || fail "$results is not a folder that can be written to; name one with --results"
results=$(cd "$results" && pwd)
# What an emulation measures is no result.
[[ $provider == device || $results != */benchmarks/results ]] || fail "results of an emulation do not belong in $results; name another folder with --results"
[[ -x $root/runtime/bin/java ]] || fail "$root has the tests alone; unpack the distribution itself into the same folder too"

work=$(mktemp -d "$results/.check-gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT
ln -s "$root/tests/src" "$work/src" # tests name their files by it
cd "$work" || exit 1

tags=gpu
[[ $provider == simt ]] || tags="gpu & !simt" # but those about the emulation
tests=("$root/runtime/bin/java" --enable-native-access=ALL-UNNAMED -ea -Xmx2g -Dgatun.cuda="$provider" -Dgatun.test.backend=cuda
  -cp "$root/gatun.jar:$root/lib/*:$root/tests/classes:$root/tests/lib/*" dev.gatun.RunTagged "$tags" "$root/tests/classes")
kernel_tests=dev.gatun.op

failures=() passed=0 failed=0 skipped=0
report=$work/report.md

# stage NAME COMMAND...: as in ./check.
stage() {
  local name=$1 started=$SECONDS
  shift
  echo
  echo "== $name"
  if "$@"; then
    echo "== $name: ok, $((SECONDS - started)) s"
  else
    failures+=("$name")
    echo "== $name: FAILED, $((SECONDS - started)) s"
  fi
}

skip() { # NAME WHY
  echo
  echo "== $1: skipped, $2"
  skipped=$((skipped + 1))
  printf '| %s | skipped: %s | | | |\n' "$1" "$2" >> "$report"
}

# rows WHERE FILE: adds what the tests wrote, a line for each class, to the report and to the counts.
rows() {
  local class ok bad not seconds
  while IFS=$'\t' read -r class ok bad not seconds; do
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + not))
    echo "| $class$1 | $ok | $bad | $not | $seconds |" >> "$report"
  done < "$2"
}

gpu_tests() {
  local status=0
  : > "$work/rows"
  "${tests[@]}" "$work/rows" || status=$?
  rows "" "$work/rows"
  return "$status"
}

find_sanitizer() {
  local candidate
  for candidate in "$(command -v compute-sanitizer || true)" {"${CUDA_HOME:-}","${CUDA_PATH:-}",/usr/local/cuda}/{bin,compute-sanitizer}/compute-sanitizer; do
    if [[ -f $candidate && -x $candidate ]]; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

sanitized() { # TOOL: the tests of kernels under that tool of compute-sanitizer
  local status=0
  : > "$work/rows"
  # A virtual machine handles some signals itself; only errors of the device count.
  "$sanitizer" --tool "$1" --target-processes all --error-exitcode 86 --log-file "$work/$1.log" \
    "${tests[@]}" "$work/rows" "$kernel_tests" || status=$?
  grep -v '^========= COMPUTE-SANITIZER' "$work/$1.log" | tail -n 40
  rows ", $1" "$work/rows"
  return "$status"
}

gatun() {
  GATUN_JAVA_OPTS="-Dgatun.cuda=$provider" "$root/bin/gatun" "$@"
}

# The same rows everywhere: pseudo-words from a generator written out here, prompts of 60 to 119 words, answers of 30 to 89.
training_rows() {
  awk -v rows="$1" '
    function draw(n) { seed = (seed * 1103 + 12345) % 2147483647; return int(seed / 7) % n }
    function word(  k, text) {
      for (k = 2 + draw(3); k > 0; k--) text = text substr("bdfgklmnprstvz", 1 + draw(14), 1) substr("aeiou", 1 + draw(5), 1)
      return text
    }
    function words(count,  text) { while (count-- > 0) text = text " " vocabulary[draw(20000)]; return text }
    BEGIN {
      seed = 1
      for (i = 0; i < 20000; i++) vocabulary[i] = word()
      for (i = 0; i < rows; i++)
        printf "{\"prompt\": \"%s\", \"chosen\": \"%s\", \"rejected\": \"%s\"}\n", words(60 + draw(60)), words(30 + draw(60)), words(30 + draw(60))
    }'
}

# The model's own start is the reference, scored once; means over all steps but the first four, in which plans are made and code is compiled.
step_benchmark() { # SHAPE VOCABULARY ROWS PAIRS STEPS DTYPE
  local shape=$1 vocabulary=$2 rows=$3 pairs=$4 steps=$5 dtype=$6 bf16=false model=$work/$1
  [[ $dtype == float32 ]] || bf16=true
  [[ -s $work/rows-$rows.jsonl ]] || training_rows "$rows" > "$work/rows-$rows.jsonl" || return 1
  [[ -d $model ]] || gatun init --like "$shape" --tokenizer_text "$work/rows-$rows.jsonl" --vocab_size "$vocabulary" --max_position_embeddings 2048 \
    --output_dir "$model" > /dev/null || return 1
  gatun dpo --device cuda --model_name_or_path "$model" --dataset_name "$work/rows-$rows.jsonl" --output_dir "$work/out" --overwrite_output_dir \
    --precompute_ref_log_probs --learning_rate 1e-6 --lr_scheduler_type constant --train_sampling_strategy sequential \
    --per_device_train_batch_size "$pairs" --max_steps "$steps" --logging_steps 1 --save_strategy no --bf16 "$bf16" > "$work/dpo.log" 2>&1 || {
    tail -n 5 "$work/dpo.log"
    return 1
  }
  awk -v line="$shape, $dtype, $pairs pairs a step" '
    function value(key,  text) { text = $0; if (!sub(".*\"" key "\": *", "", text)) return 0; sub("[,}].*", "", text); return text + 0 }
    /"loss"/ && value("step") > 4 { n++; pairs += value("pairs_per_second"); tokens += value("tokens_per_second"); mfu += value("mfu") }
    END { if (!n) exit 1; printf "| %s | %.1f | %.0f | %.3f |\n", line, pairs / n, tokens / n, mfu / n }' "$work/out/metrics.jsonl" | tee -a "$work/steps.md"
}

step_benchmarks() {
  local dtype status=0
  for dtype in float32 bfloat16; do
    if [[ $provider == simt ]]; then
      step_benchmark tiny 512 64 4 6 "$dtype" || status=1
    else
      step_benchmark 15m 4096 512 32 16 "$dtype" || status=1
      step_benchmark smollm2-135m 16384 512 32 16 "$dtype" || status=1
    fi
  done
  return "$status"
}

doctor() {
  gatun doctor | tee "$work/doctor.txt"
}

started=$SECONDS
stage "What is here" doctor
if [[ $provider == simt ]]; then
  gpu="an emulation on the CPU" name=emulation
else
  gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader 2> /dev/null | head -n 1)
  gpu=${gpu:-"not known: no nvidia-smi in PATH"}
  name=gpu-$(cut -d , -f 1 <<< "${gpu%%:*}" | tr '[:upper:] /' '[:lower:]--')
fi
stage "Tests tagged gpu" gpu_tests
((passed > 0)) || fail "no test ran on a GPU, so there are no results; what is missing is above"
if [[ $provider == simt ]]; then
  skip memcheck "an emulation has no compute-sanitizer; ./check has its own sanitizers"
  skip racecheck "an emulation has no compute-sanitizer; ./check has its own sanitizers"
elif sanitizer=$(find_sanitizer); then
  stage "Kernel tests under memcheck" sanitized memcheck
  stage "Kernel tests under racecheck" sanitized racecheck
else
  skip memcheck "no compute-sanitizer in PATH, CUDA_HOME or /usr/local/cuda"
  skip racecheck "no compute-sanitizer in PATH, CUDA_HOME or /usr/local/cuda"
fi
stage "Training steps" step_benchmarks

file=$results/$(date --utc +%F)-$name.md
{
  if [[ $provider == simt ]]; then
    echo "# An emulated GPU: no result"
    echo
    echo "Nothing here ran on a GPU. Times are those of an emulation on a CPU and say nothing of one."
  else
    echo "# $gpu"
  fi
  echo
  echo "Gatun $(sed -n 's/^version=//p' "$root/release"), commit $(sed -n 's/^commit=//p' "$root/release"), $(date --utc +%FT%TZ), $((SECONDS - started)) s."
  echo "GPU, driver, memory, compute capability: $gpu."
  echo
  echo "    $command"
  echo
  echo '```'
  cat "$work/doctor.txt"
  echo '```'
  echo
  echo "**$passed passed, $failed failed, $skipped skipped.** ${failures[*]+"Failed: $(printf '%s; ' "${failures[@]}")"}"
  echo
  echo "| tests | passed | failed | skipped | seconds |"
  echo "|---|---|---|---|---|"
  cat "$report" 2> /dev/null
  echo
  echo "| training steps of DPO, reference scored before | pairs/s | tokens/s | mfu |"
  echo "|---|---|---|---|"
  cat "$work/steps.md" 2> /dev/null
} > "$file"

echo
for failure in ${failures[@]+"${failures[@]}"}; do
  echo "FAILED: $failure"
done
echo "$passed passed, $failed failed, $skipped skipped in $((SECONDS - started)) s; results in $file"
((${#failures[@]} == 0))
