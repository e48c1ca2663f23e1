// A convolution of bf16 without columns: y = patches · wᵀ + bias, with patches read where they lie in x.  A
// block computes one tile of y while the next terms of its patches and weights are on their way to shared
// memory.  Where there are fewer tiles than multiprocessors, as in a spatial reduction, whose few patches
// have many terms, these are cut into parts, and a second launch adds the parts in order.
// Cost: x is read once for each column of tiles (and where patches overlap), w once for each row of tiles,
// mostly from the second-level cache; parts are written and read in fp32.
// Limits: see reads_patches_directly().
#include "kernels/cuda/convolution_direct.h"
#include "kernels/cuda/convolution_patches.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kTerms = 64;  // of a stage
constexpr int kStride = kTerms + kRowPadding;
constexpr int kWarpColumns = 32;

/// How a block's warps share a tile of y: down × across warps of `rows` × 32 results.
template <int rows, int down, int across, int stages>
struct Tile {
  static constexpr int kStages = stages;
  static constexpr int kWarpRows = rows, kAcross = across;
  static constexpr int kRows = rows * down, kColumns = kWarpColumns * across;
  static constexpr int kThreads = down * across * kWarpSize;
};

template <typename T>
struct Stage {
  alignas(16) bf16 x[T::kRows * kStride];
  alignas(16) bf16 w[T::kColumns * kStride];
};

struct OutputWork {
  const bf16 *x, *w, *bias;
  bf16* y;
  float* parts;  // or null, if there is one
  int tiles, tiles_across, terms_of_part;
};

template <typename T>
__global__ void __launch_bounds__(T::kThreads) convolve(PatchMap map, OutputWork work) {
  auto* const stages = dynamic_shared<Stage<T>>();
  const int part = blockIdx.x / work.tiles, tile = blockIdx.x % work.tiles;
  const int first = tile / work.tiles_across * T::kRows, column = tile % work.tiles_across * T::kColumns;
  const int begin = part * work.terms_of_part, end = min(map.terms, begin + work.terms_of_part);
  const int steps = (end - begin + kTerms - 1) / kTerms;

  constexpr int kPacks = kTerms / 8, kRowsAtOnce = T::kThreads / kPacks;
  constexpr int kMineX = T::kRows / kRowsAtOnce, kMineW = T::kColumns / kRowsAtOnce;
  const int my_row = threadIdx.x / kPacks, my_term = threadIdx.x % kPacks * 8;
  PatchMap::Place origins[kMineX];
#pragma unroll
  for (int i = 0; i < kMineX; ++i) origins[i] = map.origin(first + my_row + i * kRowsAtOnce);
  const auto start = [&](int step) {
    if (step < steps) {
      Stage<T>& stage = stages[step % T::kStages];
      const int at = begin + step * kTerms + my_term;
      const PatchMap::Place term = map.term(at);
#pragma unroll
      for (int i = 0; i < kMineX; ++i) {
        const int row = my_row + i * kRowsAtOnce;
        map.start_pack(stage.x + row * kStride + my_term, work.x, origins[i], term,
                       at < end && first + row < map.positions);
      }
#pragma unroll
      for (int i = 0; i < kMineW; ++i) {
        const int row = my_row + i * kRowsAtOnce;
        const bool exists = at < end && column + row < map.outputs;
        copy_async<16>(stage.w + row * kStride + my_term,
                       exists ? work.w + (column + row) * map.terms + at : work.w, exists);
      }
    }
    commit_copies();
  };

  constexpr int kTilesDown = T::kWarpRows / 16, kTilesAcross = kWarpColumns / 8;
  const int warp_row = warp_index() / T::kAcross * T::kWarpRows;
  const int warp_column = warp_index() % T::kAcross * kWarpColumns;
  FragmentD results[kTilesDown][kTilesAcross];
  for (int step = 0; step < T::kStages - 1; ++step) start(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<T::kStages - 2>();
    __syncthreads();  // the stage has arrived, and the one before it has been read
    start(step + T::kStages - 1);
    const bf16* const x = stages[step % T::kStages].x + warp_row * kStride;
    const bf16* const w = stages[step % T::kStages].w + warp_column * kStride;
#pragma unroll
    for (int k = 0; k < kTerms; k += 16) {
      FragmentPairB b[kTilesAcross / 2];
#pragma unroll
      for (int j = 0; j < kTilesAcross / 2; ++j)
        b[j] = load_pair_transposed(w + 16 * j * kStride + k, kStride);
#pragma unroll
      for (int i = 0; i < kTilesDown; ++i) {
        const FragmentA a = load_a(x + 16 * i * kStride + k, kStride);
#pragma unroll
        for (int j = 0; j < kTilesAcross; ++j) mma(results[i][j], a, b[j / 2].b[j % 2]);
      }
    }
  }
  wait_copies();

  const int64_t part_start = int64_t{part} * map.positions;
#pragma unroll
  for (int i = 0; i < kTilesDown; ++i)
    for_packs<kTilesAcross>(
        results[i], [](int) { return 1.0f; },
        [&](int row, int at, Floats<8>& values) {
          const int position = first + warp_row + 16 * i + row, output = column + warp_column + at;
          if (position >= map.positions || output >= map.outputs) return;
          if (work.parts)
            return store<8>(work.parts + (part_start + position) * map.outputs + output, values);
          if (work.bias) add_stored(values, work.bias + output);
          store<8>(work.y + int64_t{position} * map.outputs + output, values);
        });
}

constexpr int kAddThreads = 256;

/// y = bias + the sum over parts; a thread takes four neighbouring values.
__global__ void __launch_bounds__(kAddThreads)
    add_parts(const float* parts, int count, int64_t outputs, Divisor of_columns, const bf16* bias, bf16* y) {
  const int64_t index = (int64_t{blockIdx.x} * kAddThreads + threadIdx.x) * 4;
  if (index >= outputs) return;
  Floats<4> total{};
#pragma unroll 8
  for (int part = 0; part < count; ++part) {
    const auto values = load<4>(parts + part * outputs + index);
#pragma unroll
    for (int i = 0; i < 4; ++i) total[i] += values[i];
  }
  if (bias) add_stored(total, bias + of_columns.divide(static_cast<int>(index)).remainder);
  store<4>(y + index, total);
}

constexpr int64_t kMultiprocessors = 132;  // of a large GPU

template <typename T>
int64_t tiles_of(const ConvolutionShape& shape) {
  return ceil_div(shape.outputs() / shape.out_channels, T::kRows) * ceil_div(shape.out_channels, T::kColumns);
}

/// With the terms in up to `most_parts` parts.
template <typename T>
bool launch_tiles(const ConvolutionForward& args, int64_t most_parts, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  const int64_t steps = ceil_div(shape.patch(), kTerms), steps_of_part = ceil_div(steps, most_parts);
  const int64_t parts = ceil_div(steps, steps_of_part), tiles = tiles_of<T>(shape);
  const LaunchShape multiplying{.name = args.name,
                                .grid = {tiles * parts},
                                .block = {T::kThreads},
                                .shared_bytes = T::kStages * static_cast<int64_t>(sizeof(Stage<T>))};
  if (!has_shared_bytes(queue, multiplying.shared_bytes)) return false;
  const auto* bias = static_cast<const bf16*>(args.bias);
  auto* y = static_cast<bf16*>(args.y);
  const OutputWork work{.x = static_cast<const bf16*>(args.x),
                        .w = static_cast<const bf16*>(args.w),
                        .bias = bias,
                        .y = y,
                        .parts = parts > 1 ? queue.scratch(parts * shape.outputs()) : nullptr,
                        .tiles = static_cast<int>(tiles),
                        .tiles_across = static_cast<int>(ceil_div(shape.out_channels, T::kColumns)),
                        .terms_of_part = static_cast<int>(steps_of_part * kTerms)};
  launch(queue, multiplying, convolve<T>, PatchMap(shape), work);
  if (!work.parts) return true;
  const LaunchShape adding{
      .name = args.name, .grid = {ceil_div(shape.outputs(), 4 * kAddThreads)}, .block = {kAddThreads}};
  launch(queue, adding, add_parts, work.parts, static_cast<int>(parts), shape.outputs(),
         Divisor(shape.out_channels), bias, y);
  return true;
}

using LargeTile = Tile<64, 2, 4, 3>;   // 128 × 128
using TallTile = Tile<32, 4, 2, 4>;    // 128 × 64
using SquareTile = Tile<32, 2, 2, 4>;  // 64 × 64

}  // namespace

bool convolve_directly(const ConvolutionForward& args, Queue& queue) {
  constexpr int64_t kEnough = kMultiprocessors * 2 / 3;  // blocks
  constexpr int64_t kFewestSteps = 4;                    // of a part: fewer are not worth their sums
  constexpr int64_t kFew = 12;                           // steps that take less than a second launch
  const ConvolutionShape& shape = args.shape;
  if (!reads_patches_directly(args.dtype, shape) || packable(8, {args.x, args.w, args.bias, args.y}) != 8)
    return false;
  if (tiles_of<LargeTile>(shape) >= kEnough) return launch_tiles<LargeTile>(args, 1, queue);
  const int64_t steps = ceil_div(shape.patch(), kTerms);
  if (tiles_of<SquareTile>(shape) >= kEnough || steps <= kFew)
    return launch_tiles<SquareTile>(args, 1, queue);
  const int64_t parts = std::min(kMultiprocessors / tiles_of<TallTile>(shape), steps / kFewestSteps);
  return launch_tiles<TallTile>(args, parts, queue);
}

}  // namespace scrawl::SCRAWL_GPU
