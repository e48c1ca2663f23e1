#!/usr/bin/env bash
# Builds the fuzz targets and runs one after the other, each for so many seconds:
#   tests/fuzz/run.sh [SECONDS [TARGET...]]     600 seconds of each when not given
# Inputs that broke a reader, logs and what the fuzzer has learned stay in build/fuzz/runs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
seconds=${1:-600}
targets=("${@:2}")
fuzz=$root/tests/fuzz
((${#targets[@]})) || targets=(pth npy safetensors label_png xml json config)

cd "$root"
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -- -j"${JOBS:-$(nproc)}"

# The largest share of what a reader may take that it took.
memory() { # folder
  grep -hoP '^memory: .* \K\d+(?= %)' "$1/log" "$1/greedy.log" | sort -n | tail -1 | sed 's/$/ %/'
}

# Files that the tests have, small ones only: the fuzzer tries thousands of changes to each every second.
seeds_of() { # target
  case $1 in
    pth | npy | safetensors) find tests/fixtures tests/goldens -name "*.$1" -size -32k ;;
    config) find configs -name '*.yaml' ;;
  esac
}

export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
format='%-12s %8s %12s %9s %7s %13s  %s\n'
# shellcheck disable=SC2059
printf "$format" target seconds executions coverage corpus 'memory' verdict
failed=0
for target in "${targets[@]}"; do
  out=build/fuzz/runs/$target
  mkdir -p "$out/corpus" "$out/seeds"
  seeds_of "$target" | xargs -r cp -t "$out/seeds"
  options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1
    -artifact_prefix="$out/")
  [[ -e $fuzz/dictionaries/$target.dict ]] && options+=(-dict="$fuzz/dictionaries/$target.dict")
  verdict=ok
  build/fuzz/tests/fuzz/write_greedy_inputs "$target" "$out/greedy"
  find "$out/greedy" -type f -exec "build/fuzz/tests/fuzz/fuzz_$target" {} + >"$out/greedy.log" 2>&1 ||
    { verdict="BROKEN, see $out/greedy.log" && failed=1; }
  "build/fuzz/tests/fuzz/fuzz_$target" "${options[@]}" "$out/corpus" "$fuzz/corpus/$target" "$out/seeds" \
    >"$out/log" 2>&1 || { verdict="BROKEN, see $out/log" && failed=1; }
  stat() { grep -oP "stat::$1: *\K\d+" "$out/log" | tail -1; }
  state=$(grep -P '^#\d+\s' "$out/log" | tail -1)
  # shellcheck disable=SC2059
  printf "$format" "$target" "$(grep -oP 'in \K\d+(?= second)' "$out/log" | tail -1)" \
    "$(stat number_of_executed_units)" "$(grep -oP 'cov: \K\d+' <<<"$state")" \
    "$(grep -oP 'corp: \K\d+' <<<"$state")" "$(memory "$out")" "$verdict"
done
exit "$failed"
