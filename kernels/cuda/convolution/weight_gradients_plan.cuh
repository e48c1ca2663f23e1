#pragma once
// How weight gradients of linear layers and convolutions share a GPU; see weight_gradients_wgmma.cu.
// A gradient is a sum over positions: a linear layer's rows, a convolution's outputs.  A step takes a window
// of up to 64 of them, and their rows of dy and x come in one copy each.  For a convolution each tap of the
// kernel is a product of its own, whose windows of x are shifted by the tap.
#include <algorithm>
#include <span>

#include "kernels/convolution.h"
#include "kernels/cuda/convolution/windows.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/matmul.h"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kGradientTile = 128;  // rows and columns of a block's results
inline constexpr int kGradientThreads = 256;
inline constexpr int kMostGradients = 10;  // of one launch, whose arguments end at 4 KB

/// dw [m, taps · n] (+)= Σ_positions dyᵀ x.
struct WeightGradient {
  float *dw, *dbias;      // dbias may be null
  int64_t first_partial;  // of its partial sums, when there are several parts
  int row_stride, m, n, kernel, stride, padding;
  Windows windows;
  int steps, steps_of_part, parts;
  int tiles_of_tap, tiles_across, tiles;
  int first_block, first_sum_block;
  bool accumulate;

  __host__ __device__ int columns() const { return kernel * kernel * n; }
  /// Floats of a part's dw and, behind it, its dbias.
  __host__ __device__ int64_t part_floats() const { return int64_t{m} * columns() + (dbias ? m : 0); }
  /// Of a block that adds parts; see add_parts().
  __host__ __device__ int lanes() const { return parts > 8 ? 32 : kGradientThreads; }
};

/// Several, whose blocks follow one another.
struct WeightGradientGroup {
  TensorMap dy[kMostGradients], x[kMostGradients];
  WeightGradient gradients[kMostGradients];
  int count = 0;

  /// The number of the one whose `first` is the last up to this block.
  template <int WeightGradient::*first>
  __device__ int gradient_of(int block) const {
    int i = 0;
    while (i + 1 < count && gradients[i + 1].*first <= block) ++i;
    return i;
  }
};

/// What a plan is made of.
struct PlannedGradient {
  TiledTensor dy, x;
  WeightGradient gradient;
};

inline PlannedGradient planned(const MatMul& args) {
  return {.dy = tiled_matrix(args.a, args.k, args.m, args.lda, kWindowPositions),
          .x = tiled_matrix(args.b, args.k, args.n, args.ldb, kWindowPositions),
          .gradient = {.dw = static_cast<float*>(args.c),
                       .dbias = args.a_sum,
                       .row_stride = static_cast<int>(args.ldc),
                       .m = static_cast<int>(args.m),
                       .n = static_cast<int>(args.n),
                       .kernel = 1,
                       .stride = 1,
                       .padding = 0,
                       .windows = {.width = kWindowPositions,
                                   .across = static_cast<int>(ceil_div(args.k, kWindowPositions))},
                       .steps = static_cast<int>(ceil_div(args.k, kWindowPositions)),
                       .accumulate = args.accumulate}};
}

inline PlannedGradient planned(const ConvolutionBackwardWeight& args) {
  const ConvolutionShape& shape = args.shape;
  const Windows windows = Windows::over(shape.out_width(), shape.out_height());
  return {
      .dy = windows_of(args.dy, shape.images, shape.out_height(), shape.out_width(), shape.out_channels, 1,
                       windows),
      .x = windows_of(args.x, shape.images, shape.height, shape.width, shape.channels, shape.stride, windows),
      .gradient = {.dw = args.dw,
                   .dbias = args.dbias,
                   .row_stride = static_cast<int>(shape.patch()),
                   .m = shape.out_channels,
                   .n = shape.channels,
                   .kernel = shape.kernel,
                   .stride = shape.stride,
                   .padding = shape.padding,
                   .windows = windows,
                   .steps = static_cast<int>(shape.images) * windows.per_map(),
                   .accumulate = args.accumulate}};
}

/// The launches of a group, in numbers.  They depend on sizes alone, and so do the sums' bits.
struct WeightGradientPlan {
  WeightGradientGroup group;
  int64_t blocks = 0, sum_blocks = 0, partial_floats = 0;

  explicit WeightGradientPlan(std::span<const PlannedGradient> gradients) {
    const int steps = steps_of_parts(gradients);
    for (const PlannedGradient& each : gradients) add(each, steps);
  }

 private:
  static int64_t tiles_of(const WeightGradient& g) {
    return ceil_div(g.m, kGradientTile) * g.kernel * g.kernel * ceil_div(g.n, kGradientTile);
  }

  /// Steps of a part, the same for all: the fewest that make no more blocks than a large GPU has
  /// multiprocessors, but no more than so many, after which kernels of the backward pass get their turn.
  static int steps_of_parts(std::span<const PlannedGradient> gradients) {
    constexpr int64_t kBlocks = 132;
    constexpr int kFewest = 4, kMost = 40;  // fewer are not worth their partial sums
    const auto blocks = [&](int steps) {
      int64_t count = 0;
      for (const PlannedGradient& p : gradients)
        count += tiles_of(p.gradient) * ceil_div(p.gradient.steps, steps);
      return count;
    };
    int steps = kFewest;
    while (steps < kMost && blocks(steps) > kBlocks) ++steps;
    return steps;
  }

  void add(const PlannedGradient& planned, int steps_of_part) {
    group.dy[group.count] = tensor_map(planned.dy);
    group.x[group.count] = tensor_map(planned.x);
    WeightGradient& g = group.gradients[group.count++] = planned.gradient;
    // Parts are of one length, but for the last.
    g.steps_of_part = static_cast<int>(ceil_div(g.steps, ceil_div(g.steps, steps_of_part)));
    g.parts = static_cast<int>(ceil_div(g.steps, g.steps_of_part));
    g.tiles_of_tap = static_cast<int>(ceil_div(g.n, kGradientTile));
    g.tiles_across = g.kernel * g.kernel * g.tiles_of_tap;
    g.tiles = static_cast<int>(tiles_of(g));
    g.first_partial = partial_floats;
    g.first_block = static_cast<int>(blocks);
    g.first_sum_block = static_cast<int>(sum_blocks);
    blocks += int64_t{g.tiles} * g.parts;
    if (g.parts == 1) return;
    partial_floats += g.parts * g.part_floats();
    sum_blocks += ceil_div(g.part_floats(), 4 * g.lanes());
  }
};

}  // namespace scrawl::SCRAWL_GPU
