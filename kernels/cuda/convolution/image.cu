// The first patch embedding, 7 × 7 over an image of three channels in bf16, without columns in global memory.
// A kernel row of a patch is 21 neighbouring values of x, too odd for copies of 16 bytes; but by pairs, one
// value earlier if need be, they lie at even places as long as the stride and the width are even.  Pairs are
// copied straight to where shared memory holds the patches as rows of 7 · 24 terms, while the tensor cores
// multiply the last ones: values beside the patch meet weights of zero, or results that nobody wants.
//   Forward: each warp keeps the weights of 16 outputs as fragments and walks along its block's positions.
//   The weights' gradient: each warp has the terms of one kernel row, and one the ones that yield dbias.  The
//   positions are cut into parts, which a second launch adds.
// Cost: one read of x, and of dy; each pair of x is copied kernel² / stride² times, mostly from the first
// cache.
// Limits: see reads_image_directly().  A value of x that is infinite or not a number, times a weight of zero,
// spoils outputs whose patches end just beside it, too.
#include "kernels/cuda/convolution/direct.h"
#include "kernels/cuda/convolution/geometry.cuh"
#include "kernels/cuda/convolution/weight_parts.cuh"
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kKernel = 7, kChannels = 3, kMostOutputs = 64;
constexpr int kRowTerms = kKernel * kChannels, kPatchTerms = kKernel * kRowTerms;
constexpr int kPaddedRow = 24, kTerms = kKernel * kPaddedRow, kTermBlocks = (kTerms + 15) / 16;
constexpr int kStride = 16 * kTermBlocks + kRowPadding;  // of a patch in shared memory
constexpr int kPositions = 64, kStages = 3;              // positions of a stage
constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kRowPairs = kPaddedRow / 2, kAtOnce = kThreads / kRowPairs;  // patches copied side by side

struct ImageMap : ConvolutionGeometry {
  int positions, outputs;
  int shift;  // places in a padded row before the patch's first value
  Divisor of_out_width, of_out_height;

  explicit ImageMap(const ConvolutionShape& s)
      : ConvolutionGeometry(s),
        positions(static_cast<int>(s.images * s.out_height() * s.out_width())),
        outputs(s.out_channels),
        shift(s.padding * kChannels % 2),
        of_out_width(s.out_width()),
        of_out_height(s.out_height()) {}
};

/// A thread's share of the copies: one pair of each kernel row, of every so many patches.  Lanes side by side
/// read pairs side by side, and one computation of places serves seven copies.
class PairCopies {
 public:
  __device__ PairCopies(const ImageMap& map, const bf16* x, int begin) : map_(map), x_(x) {
    place_ = static_cast<int>(threadIdx.x) % kRowPairs * 2;
    column_ = place_ - map.padding * kChannels - map.shift;
    position_ = begin + threadIdx.x / kRowPairs;
    if (threadIdx.x >= kAtOnce * kRowPairs) position_ = map.positions + kPositions;  // left over: no copies
    const auto [line, ox] = map.of_out_width.divide(position_);
    const auto [image, oy] = map.of_out_height.divide(line);
    ox_ = ox;
    oy_ = oy;
    row_ = image * map.height + oy * map.stride - map.padding;
  }
  /// Starts the copies of patches [first, first + kPositions), those from `end` on as zeros; called for one
  /// stage after the other.
  __device__ void start(bf16* target, int first, int end) {
    const int values = map_.width * kChannels;
#pragma unroll 1
    for (; position_ < first + kPositions; position_ += kAtOnce) {
      const int column = ox_ * map_.stride * kChannels + column_, top = oy_ * map_.stride - map_.padding;
      // Negative numbers are large ones without their sign.
      const bool inside = position_ < end && static_cast<unsigned>(column) < static_cast<unsigned>(values);
      const int from = row_ * values + column;
      bf16* const to = target + (position_ - first) * kStride + place_;
#pragma unroll
      for (int ky = 0; ky < kKernel; ++ky) {
        const bool exists = inside && static_cast<unsigned>(top + ky) < static_cast<unsigned>(map_.height);
        copy_async<4>(to + ky * kPaddedRow, exists ? x_ + from + ky * values : x_, exists);
      }
      ox_ += kAtOnce;
      while (ox_ >= map_.out_width) {
        ox_ -= map_.out_width;
        row_ += map_.stride;
        if (++oy_ < map_.out_height) continue;
        oy_ = 0;
        row_ += map_.height - map_.out_height * map_.stride;
      }
    }
  }

 private:
  const ImageMap& map_;
  const bf16* x_;
  int place_, column_;            // of the pair: in a padded row, and in x relative to ox · stride
  int position_, ox_, oy_, row_;  // of the next patch; row: its first in x, of all images
};

using PatchRows = bf16[kPositions * kStride];

// --- forward ----------------------------------------------------------------------------------------------

struct ForwardMemory {
  alignas(16) PatchRows stages[kStages];
  alignas(16) bf16 w[kMostOutputs * kPatchTerms];
};

/// A warp's weights: outputs first, …, first + 15.  Column 2m + e of fragment i is output 4m + 2i + e, so
/// that a lane's results lie together.
struct WarpWeights {
  FragmentB b[kTermBlocks][2];

  __device__ void load(const bf16* w, int first, const ImageMap& map) {
    const int group = lane_index() / 4, member = lane_index() % 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int output = first + group / 2 * 4 + 2 * i + group % 2;
#pragma unroll
      for (int eight = 0; eight < 2 * kTermBlocks; ++eight) {
        const int ky = eight / (kPaddedRow / 8);
        const int at = eight % (kPaddedRow / 8) * 8 + 2 * member - map.shift;
        const auto weight = [&](int term) -> unsigned {
          const bool exists = ky < kKernel && term >= 0 && term < kRowTerms && output < map.outputs;
          return exists ? w[output * kPatchTerms + ky * kRowTerms + term].bits : 0;
        };
        b[eight / 2][i].words[eight % 2] = weight(at) | weight(at + 1) << 16;
      }
    }
  }
};

__global__ void __launch_bounds__(kThreads, 2)
    convolve_image(ImageMap map, const bf16* x, const bf16* w, const bf16* bias, bf16* y, int of_block) {
  ForwardMemory& memory = *dynamic_shared<ForwardMemory>();
  const int begin = blockIdx.x * of_block, end = min(map.positions, begin + of_block);
  const int steps = (end - begin + kPositions - 1) / kPositions;
  PairCopies copies(map, x, begin);
  const auto start = [&](int step) {
    if (step < steps) copies.start(memory.stages[step % kStages], begin + step * kPositions, end);
    commit_copies();
  };
  for (int step = 0; step < kStages - 1; ++step) start(step);
  for (int row = threadIdx.x; row < kStages * kPositions; row += kThreads)  // what no pair fills
    store_pack<8>(memory.stages[0] + row * kStride + kTerms, Pack<bf16, 8>{});
  for (int i = threadIdx.x; i < map.outputs * kPatchTerms / 8; i += kThreads)
    store_pack<8>(memory.w + 8 * i, load_pack<8>(w + 8 * i));
  __syncthreads();

  constexpr int kAcross = kMostOutputs / 16, kWarpRows = kPositions * kAcross / kWarps;
  const int warp_row = warp_index() / kAcross * kWarpRows, warp_column = warp_index() % kAcross * 16;
  WarpWeights weights;
  weights.load(memory.w, warp_column, map);
  const int output = warp_column + lane_index() % 4 * 4;
  Floats<4> offset{};
  if (bias && output < map.outputs) offset = load<4>(bias + output);

  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage has arrived, and the one before it has been read
    start(step + kStages - 1);
    const bf16* const rows = memory.stages[step % kStages] + warp_row * kStride;
    FragmentD results[kWarpRows / 16][2];
#pragma unroll
    for (int k = 0; k < kTermBlocks; ++k)
#pragma unroll
      for (int i = 0; i < kWarpRows / 16; ++i) {
        const FragmentA a = load_a(rows + 16 * i * kStride + 16 * k, kStride);
#pragma unroll
        for (int j = 0; j < 2; ++j) mma(results[i][j], a, weights.b[k][j]);
      }
#pragma unroll
    for (int i = 0; i < kWarpRows / 16; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int position = begin + step * kPositions + warp_row + 16 * i + FragmentD::row(2 * half);
        if (position >= end || output >= map.outputs) continue;
        Floats<4> values;
#pragma unroll
        for (int j = 0; j < 4; ++j) values[j] = results[i][j / 2].values[2 * half + j % 2] + offset[j];
        store<4>(y + int64_t{position} * map.outputs + output, values);
      }
  }
  wait_copies();
}

// --- the weights' gradient --------------------------------------------------------------------------------

constexpr int kStrideDy = kMostOutputs + kRowPadding, kTilesDown = kMostOutputs / 16;

struct GradientStage {
  alignas(16) PatchRows x;
  alignas(16) bf16 dy[kPositions * kStrideDy];
};

/// Part blockIdx.x of the positions, to dw and, if that is not null, dbias, `part_stride` from part to part.
__global__ void __launch_bounds__(kThreads, 2)
    image_weight_gradient(ImageMap map, const bf16* x, const bf16* dy, float* dw, float* dbias,
                          int64_t part_stride, int of_part) {
  auto* const stages = dynamic_shared<GradientStage>();
  const int begin = blockIdx.x * of_part, end = min(map.positions, begin + of_part);
  const int steps = (end - begin + kPositions - 1) / kPositions;
  PairCopies copies(map, x, begin);
  constexpr int kPacks = kMostOutputs / 8;
  const int output = threadIdx.x % kPacks * 8;
  const auto start = [&](int step) {
    if (step < steps) {
      GradientStage& stage = stages[step % kStages];
      const int first = begin + step * kPositions;
      copies.start(stage.x, first, end);
#pragma unroll
      for (int i = 0; i < kPositions * kPacks / kThreads; ++i) {
        const int row = (i * kThreads + threadIdx.x) / kPacks;
        const bool exists = first + row < end && output < map.outputs;
        copy_async<16>(stage.dy + row * kStrideDy + output,
                       exists ? dy + (first + row) * map.outputs + output : dy, exists);
      }
    }
    commit_copies();
  };

  static_assert(kWarps == kKernel + 1);
  const int ky = warp_index();  // kKernel for dbias
  FragmentD c[kTilesDown][kPaddedRow / 8];
  for (int step = 0; step < kStages - 1; ++step) start(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage has arrived, and the one before it has been read
    start(step + kStages - 1);
    const GradientStage& stage = stages[step % kStages];
#pragma unroll
    for (int k = 0; k < kPositions; k += 16) {
      FragmentA a[kTilesDown];
#pragma unroll
      for (int i = 0; i < kTilesDown; ++i)
        a[i] = load_a_transposed(stage.dy + k * kStrideDy + 16 * i, kStrideDy);
      if (ky == kKernel) {
        constexpr uint32_t kOnes = 0x3F803F80;
#pragma unroll
        for (int i = 0; i < kTilesDown; ++i) mma(c[i][0], a[i], FragmentB{{kOnes, kOnes}});
        continue;
      }
      const bf16* const terms = stage.x + k * kStride + ky * kPaddedRow;
      const FragmentPairB pair = load_pair(terms, kStride);
      const FragmentB last = load_b(terms + 16, kStride);
#pragma unroll
      for (int i = 0; i < kTilesDown; ++i) {
        mma(c[i][0], a[i], pair.b[0]);
        mma(c[i][1], a[i], pair.b[1]);
        mma(c[i][2], a[i], last);
      }
    }
  }
  wait_copies();

  dw += blockIdx.x * part_stride;
#pragma unroll
  for (int i = 0; i < kTilesDown; ++i)
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const int row = 16 * i + FragmentD::row(v);
      if (row >= map.outputs) continue;
      if (ky == kKernel) {
        if (dbias && FragmentD::column(v) == 0) dbias[blockIdx.x * part_stride + row] = c[i][0].values[v];
        continue;
      }
#pragma unroll
      for (int j = 0; j < kPaddedRow / 8; ++j) {
        const int term = 8 * j + FragmentD::column(v) - map.shift;
        if (term >= 0 && term < kRowTerms) dw[row * kPatchTerms + ky * kRowTerms + term] = c[i][j].values[v];
      }
    }
}

constexpr int64_t kBlocks = 2 * 132;  // for a large GPU

/// Positions of a block, in whole stages.
int64_t positions_of_block(const ConvolutionShape& shape) {
  const int64_t positions = shape.outputs() / shape.out_channels;
  return ceil_div(ceil_div(positions, kBlocks), kPositions) * kPositions;
}
int64_t blocks_of(const ConvolutionShape& shape) {
  return ceil_div(shape.outputs() / shape.out_channels, positions_of_block(shape));
}

}  // namespace

bool convolve_image_directly(const ConvolutionForward& args, Queue& queue) {
  if (!reads_image_directly(args.dtype, args.shape) || packable(8, {args.x, args.w, args.bias, args.y}) != 8)
    return false;
  const LaunchShape shape{.name = args.name,
                          .grid = {blocks_of(args.shape)},
                          .block = {kThreads},
                          .shared_bytes = static_cast<int64_t>(sizeof(ForwardMemory))};
  launch(queue, shape, convolve_image, ImageMap(args.shape), static_cast<const bf16*>(args.x),
         static_cast<const bf16*>(args.w), static_cast<const bf16*>(args.bias), static_cast<bf16*>(args.y),
         static_cast<int>(positions_of_block(args.shape)));
  return true;
}

bool convolve_image_weight_directly(const ConvolutionBackwardWeight& args, Queue& queue) {
  if (!reads_image_directly(args.dtype, args.shape) || packable(8, {args.x, args.dy}) != 8) return false;
  const WeightParts parts(args, blocks_of(args.shape), queue);
  const LaunchShape shape{.name = args.name,
                          .grid = {parts.count},
                          .block = {kThreads},
                          .shared_bytes = kStages * static_cast<int64_t>(sizeof(GradientStage))};
  launch(queue, shape, image_weight_gradient, ImageMap(args.shape), static_cast<const bf16*>(args.x),
         static_cast<const bf16*>(args.dy), parts.dw, parts.dbias, parts.stride,
         static_cast<int>(positions_of_block(args.shape)));
  add_weight_parts(parts, args, queue);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
