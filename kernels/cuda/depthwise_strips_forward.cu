// Depthwise 3×3 + bias + GELU in bf16 on tensor cores, forward; see depthwise_strips.cuh.
// Cost: one read and write of every map; each segment reads two rows more.
#include "kernels/cuda/depthwise_strips.cuh"
#include "kernels/cuda/depthwise_strips.h"
#include "kernels/cuda/gelu.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

using namespace strips;

constexpr int kRowsOfX = 4, kRowsOfY = 2;
constexpr Plan kPlan{.shared_rows = kRowsOfX + kRowsOfY, .resident_warps = 30, .extra_rows = 2};

__global__ void __launch_bounds__(1024) forward(DepthwiseGeluForward args, Cut cut) {
  clear_rows(kRowsOfX + kRowsOfY, cut);
  const int row_bytes = cut.row_size() * static_cast<int>(sizeof(Pixel));
  const Ring<kRowsOfX> x{0, row_bytes};
  const Ring<kRowsOfY> y{kRowsOfX * row_bytes, row_bytes};
  // One half of the threads copies x, the other stores y.
  const int pieces = cut.threads() / 2, rank = static_cast<int>(threadIdx.x);
  const bool copies = rank < pieces;
  Piece piece(cut, copies ? rank : rank - pieces, 1);
  const Strip strip(cut);
  const Taps taps(args.w, strip.channel, cut.channels);
  const FragmentD start = start_of(args.bias, strip.channel, cut.channels);
  __syncthreads();

  /// `ahead` of the piece's row, which is `row`.
  const auto copy_row = [&](int row, int ahead) {
    if (copies && row + ahead <= cut.rows) piece.copy(args.x, ahead, x.row(row + ahead), cut);
    commit_copies();
  };
  const auto store_row = [&](int row) {
    if (!copies) piece.store(y.row(row - 2), args.y, -2, cut);
  };
  /// Adds a row of x, by which the one above it is complete.
  const auto add = [&](int row, FragmentD& above, FragmentD& at, FragmentD& below)
      __attribute__((always_inline)) {
    convolve(in_row(strip.pair, x.row(row)), taps, start, above, at, below);
  };
  const auto wait = [&] {
    wait_copies<kAhead - 1>();
    __syncthreads();
  };
  int row = 1;
  const auto step = [&](FragmentD & above, FragmentD & at, FragmentD & below) __attribute__((always_inline))
                        ->bool {
    wait();
    copy_row(row, kAhead);
    add(row, above, at, below);
    if (row > 1) store_row(row);
    const int to = y.row(row - 1);
#pragma unroll
    for (int half = 0; half < 2; ++half)
      *in_row(strip.words[half], to) =
          pack_bf16(gelu<bf16>(above.values[2 * half]), gelu<bf16>(above.values[2 * half + 1]));
    piece.move_down(cut);
    return row++ < cut.rows;
  };
#pragma unroll
  for (int ahead = -2; ahead < kAhead - 2; ++ahead) copy_row(1, ahead);
  FragmentD a = start, b = start, c = start;
  for (int i = 0; i < 2; ++i) {
    wait();
    copy_row(1, kAhead - 2 + i);
    if (i == 0)
      add(-1, c, a, b);
    else
      add(0, a, b, c);
  }
  while (step(b, c, a) && step(c, a, b) && step(a, b, c)) continue;
  wait_copies();
  __syncthreads();
  store_row(row);
}

}  // namespace

bool run_by_strips(const DepthwiseGeluForward& args, Queue& queue) {
  if (!takes(args, {args.x, args.y})) return false;
  const Cut cut(args.images, args.height, args.width, args.channels, kPlan);
  launch(queue, cut.shape(args.name, kPlan), forward, args, cut);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
