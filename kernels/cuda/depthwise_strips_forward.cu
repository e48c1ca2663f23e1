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
  const Piece piece(cut, copies ? rank : rank - pieces);
  const int stored_rows = copies ? 0 : piece.rows_inside(cut);
  const Strip strip(cut);
  const Taps taps(args.w, strip.channel, cut.channels);
  const FragmentD start = start_of(args.bias, strip.channel, cut.channels);
  __syncthreads();

  const auto copy_row = [&](int row) {
    if (copies && row <= cut.rows) piece.copy(args.x, row, in_row(piece.place, x.row(row)), cut);
    commit_copies();
  };
  const auto store_row = [&](int row) {
    if (static_cast<unsigned>(row) < static_cast<unsigned>(stored_rows))
      static_cast<Pixel*>(args.y)[piece.index_of(row, cut)] = *in_row(piece.place, y.row(row));
  };
  /// Adds a row of x, by which the one above it is complete.
  const auto add = [&](int row, FragmentD& above, FragmentD& at, FragmentD& below)
      __attribute__((always_inline)) {
    wait_copies<kAhead - 1>();
    __syncthreads();
    copy_row(row + kAhead);
    convolve(in_row(strip.pair, x.row(row)), taps, start, above, at, below);
  };
  int row = 1;
  const auto step = [&](FragmentD & above, FragmentD & at, FragmentD & below) __attribute__((always_inline))
                        ->bool {
    add(row, above, at, below);
    store_row(row - 2);
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = gelu<bf16>(above.values[i]);
    strip.store(y.row(row - 1), values);
    return row++ < cut.rows;
  };
#pragma unroll
  for (int first = -1; first < kAhead - 1; ++first) copy_row(first);
  FragmentD a = start, b = start, c = start;
  add(-1, c, a, b);
  add(0, a, b, c);
  while (step(b, c, a) && step(c, a, b) && step(a, b, c)) continue;
  wait_copies();
  __syncthreads();
  store_row(row - 2);
}

}  // namespace

bool run_by_strips(const DepthwiseGeluForward& args, Queue& queue) {
  if (!takes(args, {args.x, args.y})) return false;
  const Cut cut(args.images, args.height, args.width, args.channels, kPlan);
  launch(queue, cut.shape(args.name, kPlan), forward, args, cut);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
