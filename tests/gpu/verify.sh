#!/usr/bin/env bash
# Verifies the kernels on an NVIDIA GPU, within eight minutes:
#   tests/gpu/verify.sh OUT_DIR
# Runs from a checkout, which it builds, or from a folder made by `cmake --install build/portable --prefix DIR`,
# which needs nothing but the driver and CUDA's libraries.  Prints a table and writes it to OUT_DIR as
# results.md and results.json beside the log of every check.  Exits with 1 unless all checks passed.
# VERIFY_DEVICE=cpu tries out the script itself on a machine without a GPU; VERIFY_BUILD names a build to take as
# it is, VERIFY_DEMO holds more options for the trainings, VERIFY_SANITIZED cases for all of compute-sanitizer's
# tools, VERIFY_SECONDS another time.
# shellcheck disable=SC2317  # functions are called by name
set -uo pipefail

[[ $# == 1 ]] || { echo "usage: $0 OUT_DIR" >&2 && exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
export out device=${VERIFY_DEVICE:-cuda}
export VERIFY_DEMO=${VERIFY_DEMO-} VERIFY_SANITIZED=${VERIFY_SANITIZED-}
# shellcheck source=tests/gpu/setup.sh
source "$root/tests/gpu/setup.sh" "${VERIFY_BUILD-}"
deadline=$((SECONDS + ${VERIFY_SECONDS:-470})) # of the checks, not of the build
failed=0
rows=()
rm -f "$out/failed_cases.txt"

# --- table ------------------------------------------------------------------------------------------------

# row CHECK RESULT DETAIL SECONDS, where RESULT is ok, FAIL or "not run"
row() {
  [[ $2 == ok ]] || failed=1
  rows+=("| $1 | $2 | $3 | $4 |")
  json+="${json:+,}
  {\"check\": \"$1\", \"result\": \"$2\", \"detail\": \"${3//\\/}\", \"seconds\": $4}"
  printf '%-44s %-8s %s (%s s)\n' "$1" "$2" "$3" "$4" >&2
}
json=

# check NAME SECONDS FUNCTION ARGUMENTS...: a row for a function whose last line of output is the detail
check() {
  local name=$1 limit=$2 detail log=$out/${1//[^a-z0-9]/_}.log start=$SECONDS code result=ok
  local left=$((deadline - SECONDS))
  if ((left < 5)); then row "$name" "not run" "no time left" 0 && return 1; fi
  timeout $((limit < left ? limit : left)) bash -c '"$@"' check "${@:3}" >"$log" 2>&1
  code=$?
  ((code == 0)) || result=FAIL
  detail=$(tail -n 1 "$log")
  ((code == 124)) && detail="stopped after its time; $detail"
  row "$name" "$result" "$(tr -d '|"' <<<"$detail" | cut -c 1-160)" $((SECONDS - start))
  return "$code"
}

# --- checks -----------------------------------------------------------------------------------------------

# table FILTER: cases of the table of operations, or other tests; one that is skipped has not been verified.  After
# a case that fails, crashes or hangs the others go on in a new process: a fault leaves a GPU's context unusable.
table() {
  local log finished='' passed=0 failed=0 skipped=0
  trap 'cat "$log"; broken "$log" >>"$out/failed_cases.txt"; echo "it was at $(broken "$log")"; rm "$log"; exit 124' TERM
  log=$(mktemp)
  while until_failure "$log" "$1${finished:+-$finished}"; ((code)); do
    cat "$log"
    failed=$((failed + 1)) passed=$((passed + $(ended OK "$log" | wc -l)))
    broken "$log" >>"$out/failed_cases.txt"
    finished+=${finished:+:}$({ ended OK "$log" && broken "$log"; } | paste -sd :)
    if ((failed == 20)) || [[ -z $(ended RUN "$log") ]]; then break; fi
  done
  if ((code == 0)); then
    cat "$log"
    passed=$((passed + $(ended OK "$log" | wc -l))) skipped=$(ended SKIPPED "$log" | sort -u | wc -l)
  fi
  rm "$log"
  echo "$passed cases passed, $skipped skipped, $failed failed"
  ((failed == 0 && passed > 0 && skipped == 0))
}

# until_failure LOG FILTER: tests up to the first that fails or is silent for 20 s; leaves the status in $code
until_failure() {
  "$tests" --gtest_fail_fast --gtest_filter="$2" >"$1" 2>&1 &
  local process=$!
  while kill -0 "$process" 2>/dev/null; do
    sleep 0.2
    (($(date +%s) - $(stat -c %Y "$1") <= 20)) || kill -KILL "$process" 2>/dev/null
  done
  wait "$process"
  code=$?
}

# ended HOW LOG: names of the tests whose lines say OK, FAILED, SKIPPED, or RUN for all that began
ended() { grep -oP "^\[ +$1 +\] \K\S+/\S+" "$2" | tr -d ,; }

# broken LOG: the test that failed, or else the one that began and did not end
broken() {
  local name
  name=$(ended FAILED "$1" | head -n 1)
  [[ -n $name ]] || name=$(ended RUN "$1" | tail -n 1)
  echo "${name:-a program that did not come to its first case}"
}

# replays OPTIONS...: both recorded runs
replays() {
  "$scrawl" replay --device "$device" "$@" "$SCRAWL_TEST_DIR"/goldens/{tiny,deep}
  local code=$?
  ((code == 0)) && echo "every quantity within its limit"
  return "$code"
}

# demo NAME OPTIONS...: a short training on the demo set
demo() {
  rm -rf "${out:?}/demo/$1"
  # shellcheck disable=SC2086  # several options
  "$scrawl" demo --out "$out/demo/$1" "${@:2}" $VERIFY_DEMO || return
  echo "$(losses "$1" | wc -l) epochs, last loss $(losses "$1" | tail -n 1), mIoU $(miou "$1")"
}
losses() { grep -oP '"loss":\K[0-9.e+-]+' "$out/demo/$1/history.jsonl"; }
miou() { grep -oP -m 1 '"miou": \K[0-9.]+' "$out/demo/$1/result.json"; }

# curves A B LIMIT: the epochs' losses of two trainings, which differ by at most LIMIT of the loss
curves() {
  paste <(losses "$1") <(losses "$2") | awk -v limit="$3" '
    NF != 2 { bad = 1 }
    { d = ($1 - $2) / $1; d = d < 0 ? -d : d; sum += d; if (d > worst) { worst = d; at = NR } }
    END { printf "loss differs by %.2g at most (epoch %d), %.2g on average; %.2g is allowed on average\n",
                 worst, at, NR ? sum / NR : 1, limit; exit bad || NR == 0 || sum / NR > limit }'
}

# The numbers of a checkpoint; ahead of them stands a header whose metadata hold times.
tensors() {
  local header
  header=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
  tail -c +$((header + 9)) "$1" | sha256sum
}

# identical A B: losses of every epoch and all weights, moments and banks, bit for bit
identical() {
  cmp <(losses "$1") <(losses "$2") || return
  cmp <(tensors "$out/demo/$1/last.safetensors") <(tensors "$out/demo/$2/last.safetensors") || return
  echo "all losses and $(stat -c %s "$out/demo/$1/last.safetensors") bytes of checkpoint are the same"
}

# sanitize TOOL CASES: compute-sanitizer over cases of the table, shared out among processes, since most of its
# work is the processor's.  For racecheck, which takes longest, one or two of every operation.
sanitized='*_33x3*:*_2x7x5x3*:*_3x13x9x*:*_13x9*:*_7x5_to_*:*_embed_3x3_stride_2*:*_embed_7x7_stride_4:*_reduce_2'
sanitized+=':*_35_queries_*:*_132_queries_*:*_1025_keys*:*_dropped_33x3x5*:*_local_2_classes*:*_partly_filled*'
sanitized+=':*confusion_1025_*:*adamw_groups*:*matmul_bias*:*matmul_sum_beside*:*cast_*33*:*weighted_sum_of_3*'
sanitized+=':*predicted_tags_last_pixel*:*matmul_weight_gradient*:*matmul_few_*:*_5x35x64:*_2x19x21x40:*_70_queries_*'
sanitized+=':*decoder_premultiply_*odd*:*decoder_weights_backward_*odd*:*relu_33x3*:*column_sum_*x33:*bank_many_images'
sanitized+=':*matmul_*_rows_*:*block_frozen_dropped_*:*block_twice_frozen_*:*relu_chain_of_packs*:*linear_frozen_100x64*'

sanitize() {
  command -v compute-sanitizer || { echo "there is no compute-sanitizer" && return 1; }
  local filter=Cuda${VERIFY_SANITIZED:-$2} code=0 passed=0 processes=() log shard
  log=$(mktemp -d)
  for shard in {0..7}; do
    GTEST_TOTAL_SHARDS=8 GTEST_SHARD_INDEX=$shard compute-sanitizer --tool "$1" --error-exitcode 9 \
      "$tests" --gtest_filter="${filter//:/:Cuda}" >"$log/$shard" 2>&1 &
    processes+=($!)
  done
  for shard in {0..7}; do
    wait "${processes[shard]}" || code=$?
    cat "$log/$shard"
    passed=$((passed + $(grep -oP '\[  PASSED  \] \K\d+' "$log/$shard" || echo 0)))
  done
  rm -r "$log"
  ((passed > 0 || code)) || { echo "no case ran" && return 1; }
  ((code == 0)) && echo "no error in $passed cases"
  return "$code"
}

export sanitized
export -f table until_failure ended broken replays demo losses miou curves tensors identical sanitize

name=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || cat "$root/commit" 2>/dev/null || echo unknown)
suite=${device^}

check "program starts" 60 "$scrawl" info
if [[ $device == cuda ]] && grep -q '^no cuda device' "$out/program_starts.log"; then
  row "GPU" FAIL "$(grep '^no cuda device' "$out/program_starts.log")" 0
else
  check "operations" 150 table "$suite*"
  check "single kernels" 60 table "All/*Kernel.*/$device*:All/*Batch.*/$device*:All/MatMulEpilogue.*/$device*"
  [[ $device == cuda ]] && check "operations, portable" 90 table "PortableBf16*"
  [[ $device == cuda ]] && check "operations by cuDNN" 60 table "Cudnn*"
  [[ $device == cuda ]] && check "products by cuBLASLt" 30 table "Cublas*"
  check "recorded runs, fp32" 60 replays
  [[ $device == cpu ]] || check "recorded runs, bf16" 60 replays --precision bf16
  [[ $device == cuda ]] && check "recorded runs, cuDNN" 60 replays --conv cudnn

  check "training on the cpu device" 150 demo cpu --device cpu
  check "training" 60 demo first --device "$device" &&
    check "training again" 60 demo second --device "$device" &&
    check "two trainings are the same" 10 identical first second
  # Two trainings whose sums are rounded otherwise drift apart: by about 1 % on the demo set.
  check "losses follow the cpu device" 10 curves cpu first 0.03
  if [[ $device == cuda ]]; then
    check "training, bf16" 60 demo bf16 --device cuda --set train.precision=bf16 &&
      check "losses in bf16 follow fp32" 10 curves first bf16 0.05
    check "training, cuDNN" 60 demo cudnn --device cuda --conv cudnn &&
      check "losses with cuDNN follow our own" 10 curves first cudnn 0.03
    tools=(memcheck initcheck synccheck racecheck) # the slowest last
    for i in "${!tools[@]}"; do                    # each its share of the time that is left
      cases='*' && [[ ${tools[i]} == racecheck ]] && cases=$sanitized
      check "${tools[i]}" $(((deadline - SECONDS) / (${#tools[@]} - i))) sanitize "${tools[i]}" "$cases"
    done
  fi
fi

# --- results ----------------------------------------------------------------------------------------------

verdict=$( ((failed)) && echo "NOT verified" || echo "verified")
{
  echo "# $verdict on ${name:-no GPU}"
  echo
  echo "$(date -u +%F), commit $commit, device \`$device\`, $SECONDS s in all."
  echo
  echo "| check | result | detail | seconds |"
  echo "|---|---|---|---|"
  printf '%s\n' "${rows[@]}"
  if [[ -s $out/failed_cases.txt ]]; then
    printf '\nFailed, crashed or silent for 20 s:\n\n' && sed "s/.*/- \`&\`/" "$out/failed_cases.txt"
  fi
} | tee "$out/results.md"
printf '{"gpu": "%s", "commit": "%s", "date": "%s", "verified": %s, "checks": [%s\n]}\n' "${name//\"/}" "$commit" \
  "$(date -u +%F)" "$( ((failed)) && echo false || echo true)" "$json" >"$out/results.json"
exit "$failed"
