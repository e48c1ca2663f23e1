#!/usr/bin/env bash
# Where the time of a training step goes on an NVIDIA GPU, kernel beside kernel: records one by CUPTI, which costs it
# 2 % to 40 %, and prints a table.
#   tests/gpu/timeline/timeline.sh OUT_DIR [OPTIONS OF bench step]
# Runs from a checkout, which it builds, or from a folder made by `cmake --install build/portable --prefix DIR`.
# OUT_DIR/timeline.tsv has every kernel, results.md the table.  TIMELINE_BUILD names a build to take as it is.
set -uo pipefail

(($# >= 1)) || { echo "usage: $0 OUT_DIR [OPTIONS OF bench step]" >&2 && exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
# shellcheck source=tests/gpu/setup.sh
source "$root/tests/gpu/setup.sh" "${TIMELINE_BUILD-}"

for library in "$root"/lib/libscrawl_timeline.so "${build-}"/tests/libscrawl_timeline.so; do
  [[ -e $library ]] && export CUDA_INJECTION64_PATH=$library
done
[[ -n ${CUDA_INJECTION64_PATH-} ]] || { echo "this build has no recorder: it needs CUPTI's header" >&2 && exit 1; }
export SCRAWL_TIMELINE=$out/timeline.tsv
"$scrawl" bench step --device cuda --precision bf16 --warmup 5 --steps 20 "${@:2}" >"$out/step.log" 2>&1 ||
  { tail -n 5 "$out/step.log" >&2 && exit 1; }
{
  echo "# Time line of ${*:2}"
  echo
  sed 's/^/    /' "$out/step.log"
  echo
  python3 "$root/tests/gpu/timeline/report.py" "$SCRAWL_TIMELINE"
} | tee "$out/results.md"
