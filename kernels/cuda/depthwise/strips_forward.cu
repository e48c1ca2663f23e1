// Depthwise 3×3 + bias + GELU in bf16 on tensor cores, forward; see strips.cuh.
// Cost: one read and write of every map; each segment reads two rows more.  86 instructions and 9 products
// for a strip's 128 values (counted for compute capability 9.0), and some 500 for each segment.
#include "kernels/cuda/depthwise/gelu.cuh"
#include "kernels/cuda/depthwise/strips.cuh"
#include "kernels/cuda/depthwise/strips.h"

namespace scrawl::SCRAWL_GPU {

namespace {

using namespace strips;

constexpr int kRowsOfX = 6, kRowsOfY = 2;
constexpr int kAhead = 4;              // rows of x on their way
constexpr int kBoundedThreads = 1024;  // three blocks of a full row, of 64 registers a thread
constexpr Plan kPlan{.shared_rows = kRowsOfX + kRowsOfY, .resident_warps = 30, .extra_rows = 4};

template <int row_size>
__global__ void __launch_bounds__(kBoundedThreads) forward(DepthwiseGeluForward args, Cut cut) {
  using X = Ring<row_size, kRowsOfX, 0>;
  using Y = Ring<row_size, kRowsOfY, kRowsOfX>;
  clear_pixels(kRowsOfX * row_size, cut);
  // One half of the threads copies x, the other stores y.
  const int pieces = cut.threads() / 2, rank = static_cast<int>(threadIdx.x);
  const bool copies = rank < pieces;
  const Piece piece(cut, copies ? rank : rank - pieces);
  const int stored_rows = copies ? 0 : piece.rows_inside(cut);
  const Strip strip(cut);
  const Taps taps(args.w, strip.channel, cut.channels);
  const FragmentD start = start_of(args.bias, strip.channel, cut.channels);
  Sums sums;
  __syncthreads();

  const auto copy_row = [&](int row, int phase) {
    if (copies && row <= cut.rows) piece.copy(args.x, row, in_row(piece.place, X::row(phase)), cut);
    commit_copies();
  };
  const auto store_row = [&](int row, const Pixel* from) {
    if (static_cast<unsigned>(row) < static_cast<unsigned>(stored_rows))
      static_cast<Pixel*>(args.y)[piece.index_of(row, cut)] = *from;
  };
  /// Adds the row of x below this one.
  const auto complete = [&](int row, int phase) __attribute__((always_inline)) {
    wait_copies<kAhead - 1>();
    __syncthreads();
    copy_row(row + 1 + kAhead, phase + 1 + kAhead);
    convolve(in_row(strip.pair, X::row(phase + 1)), phase + 1, taps, start, sums);
  };
#pragma unroll
  for (int i = -1; i < kAhead - 1; ++i) copy_row(i, i);
  complete(-2, -2);
  complete(-1, -1);
  int row = 0;
  walk([&](auto phase) __attribute__((always_inline)) {
    complete(row, phase);
    store_row(row - 1, in_row(piece.place, Y::row(phase - 1)));
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = gelu<bf16>(sums.row(phase).values[i]);
    strip.store(Y::row(phase), values);
    return ++row < cut.rows;
  });
  wait_copies();
  __syncthreads();
  store_row(row - 1, in_row(piece.place, Y::begin + (row - 1) % kRowsOfY * (Y::row(1) - Y::row(0))));
}

}  // namespace

bool run_by_strips(const DepthwiseGeluForward& args, Queue& queue) {
  if (!takes(args, {args.x, args.y})) return false;
  const Cut cut(args.images, args.height, args.width, args.channels, kPlan);
  with_row_size(
      cut, [&](auto row_size) { launch(queue, cut.shape(args.name, kPlan), forward<row_size>, args, cut); });
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
