#!/usr/bin/env bash
# All that a machine with a GPU can tell of Gatun, in one run, from a checkout: is it right, how fast is it, how fast is PyTorch beside it.
#   benchmarks/gpu.sh [--gatun DISTRIBUTION] [--python PYTHON] [--only STAGES] [--results FOLDER]
#     --gatun    an unpacked distribution with its tests, where there is no JDK; the checkout itself if it is not named
#     --python   one that has torch for CUDA and transformers, for the peers; python3 if it is not named; none: no peers
#     --only     of right,check,demo,ops,speed,peers,profile, separated by commas; all of them if it is not named
#     --results  where the file of results goes; benchmarks/results if it is not named
#   benchmarks/gpu.sh --simt ...   tiny shapes, Gatun on the emulated GPU and PyTorch on the CPU: to test this script. No result
# right: doctor, selftest, and runs of training that must write the same bits. check: ./check --gpu, or the distribution's bin/check-gpu, which
# write their own file. ops: every op and product, and their share of what the GPU can do. profile: Nsight Systems and Nsight Compute, where nsys
# and ncu are. A stage that fails does not stop the others; the script then ends with 1.
set -uo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
fail() {
  echo "gpu.sh: $*" >&2
  exit 1
}

command="benchmarks/gpu.sh${*:+ $*}"
all=right,check,demo,ops,speed,peers,profile
provider=device python=python3 only=$all results= distribution=
while (($# > 0)); do
  case $1 in
    --simt) provider=simt ;;
    --gatun | --python | --only | --results)
      (($# > 1)) || fail "$1 needs a value"
      case $1 in
        --gatun) distribution=$2 ;;
        --python) python=$2 ;;
        --only) only=$2 ;;
        *) results=$2 ;;
      esac
      shift
      ;;
    *) fail "unknown option '$1'; expected --simt, --gatun, --python, --only or --results" ;;
  esac
  shift
done
for name in ${only//,/ }; do
  [[ ,$all, == *,"$name",* ]] || fail "unknown stage '$name'; expected some of $all"
done
gatun=$root/gatun
if [[ -n $distribution ]]; then
  gatun=$(cd "$distribution" 2> /dev/null && pwd)/bin/gatun
  [[ -x $gatun ]] || fail "$distribution is not an unpacked distribution: it has no bin/gatun"
fi
# What an emulation measures is no result.
[[ $provider == device || -n $results ]] || fail "name a folder for what an emulation writes with --results"
results=${results:-$root/benchmarks/results}
[[ -d $results && -w $results ]] || fail "$results is not a folder that can be written to; name one with --results"
results=$(cd "$results" && pwd)
work=$(mktemp -d "$results/.gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [[ $provider == simt ]]; then
  export GATUN_JAVA_OPTS="${GATUN_JAVA_OPTS:-} -Dgatun.cuda=simt"
  shapes=(tiny) precisions=(float32 bfloat16) pairs=4 tokens=(--prompt-tokens 24 --answer-tokens 16) rounds=2 peer_device=cpu
  gpu="an emulation on the CPU" name=emulation
else
  shapes=(qwen2.5-0.5b llama-3.2-1b llama-2-7b) precisions=(bfloat16) pairs=64 tokens=(--prompt-tokens 256 --answer-tokens 192) rounds=5 peer_device=cuda
  gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader 2> /dev/null | head -n 1)
  [[ -n $gpu ]] || fail "nvidia-smi shows no GPU on this machine"
  name=gpu-$(cut -d , -f 1 <<< "$gpu" | tr '[:upper:] /' '[:lower:]--')
fi

failures=()
report=$work/report.md
: > "$report"

# stage NAME TITLE FUNCTION: as in ./check, if it was asked for.
stage() {
  [[ ,$only, == *,"$1",* ]] || return 0
  local started=$SECONDS
  echo
  echo "== $2"
  if "$3"; then
    echo "== $2: ok, $((SECONDS - started)) s"
  else
    failures+=("$2")
    echo "== $2: FAILED, $((SECONDS - started)) s"
  fi
}

# shown COMMAND...: runs it; command and output go to the report too.
shown() {
  local status=0
  "$@" > "$work/output" 2>&1 || status=$?
  {
    printf '    '
    printf '%s ' "${1##*/}" "${@:2}"
    printf '\n\n```\n'
    cat "$work/output"
    printf '```\n\n'
  } | tee -a "$report"
  return "$status"
}

gatun() {
  shown "$gatun" "$@"
}

heading() {
  printf '## %s\n\n' "$1" >> "$report"
}

# ---- right ----

pseudo_rows() { # ROWS: pairs of pseudo-words, the same everywhere
  awk -v rows="$1" '
    function draw(n) { seed = (seed * 1103 + 12345) % 2147483647; return int(seed / 7) % n }
    function words(count,  text) { while (count-- > 0) text = text " " substr("bdfgklmnprst", 1 + draw(12), 1) substr("aeiou", 1 + draw(5), 1) "n"; return text }
    BEGIN { seed = 1
      for (i = 0; i < rows; i++)
        printf "{\"prompt\": \"%s\", \"chosen\": \"%s\", \"rejected\": \"%s\"}\n", words(4 + draw(30)), words(2 + draw(20)), words(2 + draw(20)) }'
}

train() { # OUT OPTION...
  local out=$1
  shift
  "$gatun" dpo --device cuda --model_name_or_path "$work/start" --dataset_name "$work/rows.jsonl" --output_dir "$work/$out" \
    --max_steps 12 --per_device_train_batch_size 4 --learning_rate 1e-4 --save_strategy no --attn_implementation gatun "$@" > "$work/$out.log" 2>&1 || {
    tail -n 5 "$work/$out.log"
    return 1
  }
}

right() {
  local status=0
  heading "Right"
  gatun doctor || status=1
  gatun selftest --device cuda $([[ $provider == device ]] || echo --quick) || status=1
  pseudo_rows 64 > "$work/rows.jsonl"
  "$gatun" init --like tiny --tokenizer_text "$work/rows.jsonl" --vocab_size 300 --output_dir "$work/start" > /dev/null || return 1
  local precision same
  for precision in float32 bfloat16; do
    local bf16=$([[ $precision == bfloat16 ]] && echo true || echo false)
    train "one-$precision" --bf16 "$bf16" && train "two-$precision" --bf16 "$bf16" && train "direct-$precision" --cuda_graphs off --bf16 "$bf16" || return 1
    grep '^CUDA graphs' "$work/one-$precision.log" | tee -a "$report"
    for same in two direct; do
      if cmp "$work/one-$precision/model.safetensors" "$work/$same-$precision/model.safetensors"; then
        echo "- $precision: the same bits again$([[ $same == two ]] || echo ", without CUDA graphs")" | tee -a "$report"
      else
        echo "- **$precision: other bits$([[ $same == two ]] || echo " without CUDA graphs")**" | tee -a "$report"
        status=1
      fi
    done
  done
  echo >> "$report"
  return "$status"
}

whole_check() {
  if [[ $provider == simt ]]; then
    echo "left out: ./check --gpu needs a GPU; tools/check-gpu.sh has an emulated run of its own"
  elif [[ -n $distribution ]]; then
    "${gatun%/*}/check-gpu" --results "$results"
  else
    "$root/check" --gpu
  fi
}

demo() {
  heading "The demo"
  if [[ $provider == simt ]]; then
    echo "left out: the demo would take hours on an emulation" | tee -a "$report"
    return
  fi
  gatun demo --device cuda --output_dir "$work/demo"
}

# ---- speed ----

ops() {
  local shape precision status=0
  heading "Ops"
  for shape in "${shapes[@]}"; do
    for precision in "${precisions[@]}"; do
      gatun bench --ops --device cuda --shape "$shape" --dtype "$precision" --pairs "$pairs" --prompt_tokens "${tokens[1]}" \
        --answer_tokens "${tokens[3]}" --rounds "$rounds" || status=1
    done
  done
  return "$status"
}

median() { # FILE KEY
  sed -n "s/.*\"$2\": *{\"median\": *\([0-9.eE+-]*\).*/\1/p" "$1" | head -n 1
}

peak() { # FILE: in GiB; nothing where it is not known
  awk -F '"peak_bytes": *' 'NF > 1 && $2 ~ /^[0-9]/ { printf "%.1f", $2 / 1073741824 }' "$1"
}

bench() { # SHAPE PRECISION OPTION...: gatun bench, a row of the table
  local shape=$1 precision=$2 json=$work/bench.json
  shift 2
  "$gatun" bench --device cuda --shape "$shape" --dtype "$precision" --pairs "$pairs" --prompt_tokens "${tokens[1]}" --answer_tokens "${tokens[3]}" \
    --rounds "$rounds" --json "$@" > "$json" 2> "$work/bench.log" || {
    tail -n 3 "$work/bench.log" "$json"
    printf '| Gatun | %s | %s %s | failed | | | |\n' "$shape" "$precision" "$*" >> "$work/speed.md"
    return 1
  }
  printf '| Gatun | %s | %s %s | %.1f | %.0f | %.3f | %s |\n' "$shape" "$precision" "$*" "$(median "$json" pairs_per_second)" \
    "$(median "$json" tokens_per_second)" "$(median "$json" mfu)" \
    "$(peak "$json")" | tee -a "$work/speed.md"
  cat "$json" >> "$work/bench.jsonl"
}

speed() {
  local shape precision status=0
  for shape in "${shapes[@]}"; do
    for precision in "${precisions[@]}"; do
      bench "$shape" "$precision" --reference cached || status=1
      bench "$shape" "$precision" --reference live || status=1
      bench "$shape" "$precision" --reference cached --cuda_graphs off || status=1
    done
  done
  return "$status"
}

peers() {
  [[ $python != none ]] || return 0
  "$python" -c 'import torch, transformers' || {
    echo "no torch and transformers in $python; name another with --python, or none to leave the peers out"
    return 1
  }
  local shape recipe reference status=0 json=$work/peer.json
  for shape in "${shapes[@]}"; do
    for recipe in trl best; do
      for reference in cached live; do
        if "$python" "$root/benchmarks/peers/gpu_dpo.py" --device "$peer_device" --shape "$shape" --recipe "$recipe" --reference "$reference" --pairs "$pairs" \
          "${tokens[@]}" --rounds "$rounds" > "$json" 2> "$work/peer.log"; then
          printf '| PyTorch | %s | %s, %s | %.1f | %.0f | | %s |\n' "$shape" "$recipe" "$reference" "$(median "$json" pairs_per_second)" \
            "$(median "$json" tokens_per_second)" "$(peak "$json")" | tee -a "$work/speed.md"
          cat "$json" >> "$work/bench.jsonl"
        else
          tail -n 3 "$work/peer.log"
          printf '| PyTorch | %s | %s, %s | failed: %s | | | |\n' "$shape" "$recipe" "$reference" "$(tail -n 1 "$work/peer.log" | cut -c 1-80)" >> "$work/speed.md"
          status=1
        fi
      done
    done
  done
  return "$status"
}

timeline() {
  nsys profile --trace=cuda,nvtx --force-overwrite=true --output "$work/steps" "$gatun" bench --device cuda --shape "${shapes[0]}" --dtype bfloat16 \
    --pairs "$pairs" --prompt_tokens "${tokens[1]}" --answer_tokens "${tokens[3]}" --rounds 1 --cuda_graphs off > "$work/nsys.log" 2>&1 || {
    tail -n 5 "$work/nsys.log"
    return 1
  }
  shown nsys stats --force-export=true --report nvtx_gpu_proj_sum,cuda_gpu_kern_sum "$work/steps.nsys-rep"
}

# Of every kernel its second launch: how near it comes to what memory and arithmetic can do.
limits() {
  shown ncu --target-processes all --kernel-id :::2 --section SpeedOfLight --print-summary per-kernel "$gatun" bench --ops --device cuda \
    --shape "${shapes[0]}" --dtype bfloat16 --pairs "$pairs" --prompt_tokens "${tokens[1]}" --answer_tokens "${tokens[3]}" --rounds 1
}

profile() {
  local status=0
  heading "Where the time goes"
  if command -v nsys > /dev/null; then
    timeline || status=1
  else
    echo "No nsys in PATH." | tee -a "$report"
  fi
  if command -v ncu > /dev/null; then
    limits || status=1
  else
    echo "No ncu in PATH." | tee -a "$report"
  fi
  return "$status"
}

# ---- all ----

started=$SECONDS
stage right "Selftest, and the same bits" right
stage check "./check --gpu" whole_check
stage demo "The demo" demo
stage ops "Ops" ops
stage speed "Training steps" speed
stage peers "The same steps in PyTorch" peers
stage profile "Profile" profile

file=$results/$(date --utc +%F)-$name-steps.md
{
  if [[ $provider == simt ]]; then
    printf '# An emulated GPU: no result\n\nNothing here ran on a GPU. Times are those of an emulation on a CPU and say nothing of one.\n'
  else
    printf '# %s: training steps\n' "$gpu"
  fi
  printf '\nCommit %s%s, %s, %d s. GPU, driver, memory, compute capability: %s.\n\n    %s\n\n' "$(git -C "$root" rev-parse --short HEAD)" \
    "$([[ -z $(git -C "$root" status --porcelain --untracked-files=no) ]] || echo ", changed")" "$(date --utc +%FT%TZ)" "$((SECONDS - started))" "$gpu" "$command"
  ((${#failures[@]} == 0)) || printf '**Failed: %s.**\n\n' "$(printf '%s; ' "${failures[@]}")"
  if [[ -s $work/speed.md ]]; then
    printf '%d pairs a step, prompts of %d tokens, answers of %d; medians of %d rounds.\n\n' "$pairs" "${tokens[1]}" "${tokens[3]}" "$rounds"
    printf '| | shape | | pairs/s | tokens/s | mfu | peak GiB |\n|---|---|---|---|---|---|---|\n'
    cat "$work/speed.md"
    printf '\nmfu is of useful work, over the rate of large products on the same device (docs/benchmarks.md). Every round: the JSON beside this file.\n\n'
  fi
  cat "$report"
} > "$file"
[[ ! -s $work/bench.jsonl ]] || cp "$work/bench.jsonl" "${file%.md}.jsonl"

echo
for failure in ${failures[@]+"${failures[@]}"}; do
  echo "FAILED: $failure"
done
echo "results in $file"
((${#failures[@]} == 0))
