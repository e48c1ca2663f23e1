#!/usr/bin/env bash
# Measures training steps and kernels on an NVIDIA GPU, beside PyTorch where python3 has it, within nine minutes:
#   tests/gpu/benchmark.sh OUT_DIR
# Runs from a checkout, which it builds, or from a folder made by `cmake --install build/portable --prefix DIR`.
# Writes results.md and results.json to OUT_DIR, beside the output of every run.
# BENCHMARK_DEVICE=cpu measures the processor with a short list; BENCHMARK_BUILD names a build to take as it is,
# BENCHMARK_SECONDS gives another time: what comes last is then left out.
set -uo pipefail

[[ $# == 1 ]] || { echo "usage: $0 OUT_DIR" >&2 && exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
device=${BENCHMARK_DEVICE:-cuda}
# shellcheck source=tests/gpu/setup.sh
source "$root/tests/gpu/setup.sh" "${BENCHMARK_BUILD-}"
deadline=$((SECONDS + ${BENCHMARK_SECONDS:-520})) # of the measurements, not of the build

# run NAME SECONDS COMMAND...: its output to OUT_DIR/NAME.json
run() {
  local left=$((deadline - SECONDS)) start=$SECONDS
  if ((left < 10)); then echo "$1: no time left" >&2 && return; fi
  if timeout $(($2 < left ? $2 : left)) "${@:3}" >"$out/$1.json.part" 2>"$out/$1.log"; then
    mv "$out/$1.json.part" "$out/$1.json"
  else
    rm -f "$out/$1.json.part" && tail -n 1 "$out/$1.log" >&2
  fi
  echo "$1: $((SECONDS - start)) s" >&2
}
ours() { run "scrawl_$1" "$2" "$scrawl" bench "${@:3}" --device "$device" --json; }
torch() { run "torch_$1" "$2" python3 "$root/tests/baseline/pfa_torch.py" bench "${@:3}"; }

# Where the time of a step goes, to OUT_DIR/timeline_NAME/results.md.
timeline() {
  ((deadline - SECONDS >= 45)) || return
  TIMELINE_BUILD=${build-} timeout 40 "$root/tests/gpu/timeline/timeline.sh" "$out/timeline_$1" "${@:2}" \
    >"$out/timeline_$1.log" 2>&1 ||
    tail -n 1 "$out/timeline_$1.log" >&2
}

# PyTorch's compiler takes its matrix products and convolutions from cuBLAS and cuDNN at once: to try Triton's
# beside them takes it longer than all of this may.
export TORCHINDUCTOR_MAX_AUTOTUNE_GEMM_BACKENDS=ATEN TORCHINDUCTOR_MAX_AUTOTUNE_CONV_BACKENDS=ATEN

phases=(without local global)
has_torch=$(python3 -c 'import torch; print(torch.__version__)' 2>/dev/null)
[[ -n $has_torch ]] || echo "python3 has no PyTorch here: measuring without it" >&2

if [[ $device == cpu ]]; then
  ours b1 200 step --batch 4 --phase without global --warmup 2 --steps 7
  if [[ -n $has_torch ]]; then
    torch b1_eager_without 100 --variant eager --batch 4 --phase without --warmup 2 --steps 7
    torch b1_eager 100 --variant eager --batch 4 --phase global --warmup 2 --steps 7
    torch b1_published 100 --variant published --batch 4 --phase global --warmup 2 --steps 7
  fi
  ours b1_kernels 100 kernels --batch 4 --phase global --warmup 1 --steps 5
else
  ours b1 60 step --precision bf16 --phase "${phases[@]}" --warmup 10 --steps 50
  ours b1_batches 60 step --precision bf16 --phase without global --batch 1 4 48 --warmup 10 --steps 50
  ours b2 60 step --precision bf16 --backbone mit_b2 --crop 512 --batch 16 --warmup 10 --steps 30
  ours b5 60 step --precision bf16 --backbone mit_b5 --crop 512 --batch 8 --warmup 10 --steps 30
  ours b0 30 step --precision bf16 --backbone mit_b0 --phase "${phases[@]}" --warmup 10 --steps 50
  ours b1_fp32 60 step --phase global --warmup 10 --steps 30
  ours b1_portable 30 step --precision bf16 --portable --phase without global --warmup 10 --steps 30
  ours b1_kernel_by_kernel 30 step --precision bf16 --no-graphs --warmup 10 --steps 30
  ours b1_kernels 60 kernels --precision bf16 --warmup 10 --steps 20
  ours growth_batch 60 step --precision bf16 --batch 2 8 24 96 --warmup 5 --steps 10
  ours growth_crop 60 step --precision bf16 --batch 4 --crop 160 320 640 1024 --warmup 5 --steps 10
  ours growth_backbone 90 step --precision bf16 --warmup 5 --steps 10 \
    --backbone mit_b0 mit_b1 mit_b2 mit_b3 mit_b4 mit_b5
  timeline b1 --phase without
  timeline b1_batch_1 --phase without --batch 1
  # What takes PyTorch minutes to compile comes last.
  if [[ -n $has_torch ]]; then
    torch b1_published 60 --variant published --phase global
    torch b1_amp 60 --variant amp --phase global
    torch b1_graph 200 --variant graph --phase global
    torch b2_amp 60 --variant amp --backbone mit_b2 --crop 512 --batch 16 --phase global
    torch b1_eager 60 --variant eager --phase global
    torch b1_amp_without 60 --variant amp --phase without
    torch b2_graph 200 --variant graph --backbone mit_b2 --crop 512 --batch 16 --phase global
    torch b1_compile 150 --variant compile --phase global
  fi
fi

commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || cat "$root/commit" 2>/dev/null || echo unknown)
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
python3 "$root/tests/gpu/benchmark_report.py" "$out" "$commit" "${gpu:-$(uname -m), $(nproc) cores}"
