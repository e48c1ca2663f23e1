// The weights' gradient of a convolution of bf16 without columns: dw = dyᵀ · patches, [outputs, terms].  A
// block computes one tile of dw; its warps take sixteen positions each of every stage that arrives in shared
// memory, so that all of them work on one small tile, and add their sums through shared memory in order.
// dbias comes from the same fragments of dy, multiplied by ones.  Where there are fewer tiles than
// multiprocessors and many positions, these are cut into parts, and a second launch adds the parts.
// Cost: dy is read once for each column of tiles, x once for each row of them (and where patches overlap),
// mostly from the second-level cache.
// Limits: see reads_patches_directly().  Blocks ask for 104 to 144 KiB of shared memory; columns serve where
// a GPU has less, as those of compute capability 8.6 and 8.9.
#include "kernels/cuda/convolution/direct.h"
#include "kernels/cuda/convolution/patches.cuh"
#include "kernels/cuda/convolution/weight_parts.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

/// Whether a block may ask for that much shared memory.
template <typename Queue>
bool has_shared_bytes(const Queue& queue, int64_t bytes) {
  if constexpr (requires { queue.shared_bytes_limit(); })
    return bytes <= queue.shared_bytes_limit();
  else
    return true;
}

constexpr int kStages = 4;
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kTilesDown = kWarpRows / 16, kTilesAcross = kWarpColumns / 8;

/// A block's tile of dw, `down` × `across` times what a warp computes, by `groups` warps for each.
template <int down, int across, int groups_>
struct Tile {
  static constexpr int kAcross = across, kGroups = groups_, kParts = down * across;
  static constexpr int kRows = kWarpRows * down, kColumns = kWarpColumns * across;
  static constexpr int kPositions = 16 * kGroups;  // of a stage
  static constexpr int kThreads = kWarpSize * kParts * kGroups;
};

template <typename T>
struct Stage {
  static constexpr int kStrideDy = T::kRows + kRowPadding, kStrideX = T::kColumns + kRowPadding;
  alignas(16) bf16 dy[T::kPositions * kStrideDy];
  alignas(16) bf16 x[T::kPositions * kStrideX];
};

/// What the warps of a block computed, to be added over groups.  A lane's values of a fragment lie together.
template <typename T>
struct Sums {
  alignas(16) float dw[T::kGroups][T::kParts][kTilesDown * kTilesAcross][kWarpSize][4];
  float dbias[T::kGroups][T::kRows];
};

struct WeightWork {
  const bf16 *x, *dy;
  float *dw, *dbias;  // of the first part
  int64_t part_stride;
  int positions_of_part, tiles, tiles_across;
  bool accumulate;
};

/// Writes the sum over groups of what warps of a block left for the tile of `part` that begins at `row` and
/// `column`.
template <typename T>
__device__ __forceinline__ void add_groups(const Sums<T>& sums, const PatchMap& map, const WeightWork& work,
                                           int part, int row, int column, bool with_bias) {
  constexpr int kFragments = T::kParts * kTilesDown * kTilesAcross, kWarps = T::kThreads / kWarpSize;
#pragma unroll 1
  for (int fragment = warp_index(); fragment < kFragments; fragment += kWarps) {
    const int of = fragment / (kTilesDown * kTilesAcross), at = fragment % (kTilesDown * kTilesAcross);
    Floats<4> total{};
#pragma unroll
    for (int g = 0; g < T::kGroups; ++g) {
      const auto values = load<4>(sums.dw[g][of][at][lane_index()]);
#pragma unroll
      for (int i = 0; i < 4; ++i) total[i] += values[i];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = row + of / T::kAcross * kWarpRows + at / kTilesAcross * 16 + FragmentD::row(i);
      const int k = column + of % T::kAcross * kWarpColumns + at % kTilesAcross * 8 + FragmentD::column(i);
      if (r >= map.outputs || k >= map.terms) continue;
      float& to = work.dw[part * work.part_stride + int64_t{r} * map.terms + k];
      to = (work.accumulate ? to : 0.0f) + total[i];
    }
  }
  if (!with_bias) return;
  for (int r = threadIdx.x; r < T::kRows; r += T::kThreads) {
    if (row + r >= map.outputs) continue;
    float total = 0.0f;
    for (int g = 0; g < T::kGroups; ++g) total += sums.dbias[g][r];
    float& to = work.dbias[part * work.part_stride + row + r];
    to = (work.accumulate ? to : 0.0f) + total;
  }
}

template <typename T>
__global__ void __launch_bounds__(T::kThreads) weight_gradient(PatchMap map, WeightWork work) {
  auto* const stages = dynamic_shared<Stage<T>>();
  const int part = blockIdx.x / work.tiles, tile = blockIdx.x % work.tiles;
  const int row = tile / work.tiles_across * T::kRows, column = tile % work.tiles_across * T::kColumns;
  const int begin = part * work.positions_of_part;
  const int end = min(map.positions, begin + work.positions_of_part);
  const int steps = (end - begin + T::kPositions - 1) / T::kPositions;

  constexpr int kPacksX = T::kColumns / 8, kPacksDy = T::kRows / 8;
  static_assert(T::kThreads % kPacksX == 0 && T::kThreads % kPacksDy == 0);
  const int x_column = threadIdx.x % kPacksX * 8, dy_column = threadIdx.x % kPacksDy * 8;
  const bool x_exists = column + x_column < map.terms, dy_exists = row + dy_column < map.outputs;
  const PatchMap::Place term = map.term(column + x_column);
  const auto start = [&](int step) {
    if (step < steps) {
      Stage<T>& stage = stages[step % kStages];
      const int first = begin + step * T::kPositions;
#pragma unroll
      for (int i = 0; i < T::kPositions * kPacksX / T::kThreads; ++i) {
        const int r = (i * T::kThreads + threadIdx.x) / kPacksX;
        map.start_pack(stage.x + r * Stage<T>::kStrideX + x_column, work.x, map.origin(first + r), term,
                       x_exists && first + r < end);
      }
#pragma unroll
      for (int i = 0; i < T::kPositions * kPacksDy / T::kThreads; ++i) {
        const int r = (i * T::kThreads + threadIdx.x) / kPacksDy;
        const bool exists = dy_exists && first + r < end;
        copy_async<16>(stage.dy + r * Stage<T>::kStrideDy + dy_column,
                       exists ? work.dy + (first + r) * map.outputs + row + dy_column : work.dy, exists);
      }
    }
    commit_copies();
  };

  const int group = warp_index() / T::kParts, mine = warp_index() % T::kParts;
  const int warp_row = mine / T::kAcross * kWarpRows, warp_column = mine % T::kAcross * kWarpColumns;
  const bool with_bias = work.dbias && column == 0, sums_bias = with_bias && warp_column == 0;
  FragmentD c[kTilesDown][kTilesAcross], ones_c[kTilesDown];
  for (int step = 0; step < kStages - 1; ++step) start(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage has arrived, and the one before it has been read
    start(step + kStages - 1);
    const Stage<T>& stage = stages[step % kStages];
    const bf16* const dy = stage.dy + 16 * group * Stage<T>::kStrideDy + warp_row;
    const bf16* const x = stage.x + 16 * group * Stage<T>::kStrideX + warp_column;
    FragmentPairB b[kTilesAcross / 2];
#pragma unroll
    for (int j = 0; j < kTilesAcross / 2; ++j) b[j] = load_pair(x + 16 * j, Stage<T>::kStrideX);
#pragma unroll
    for (int i = 0; i < kTilesDown; ++i) {
      constexpr uint32_t kOnes = 0x3F803F80;
      const FragmentA a = load_a_transposed(dy + 16 * i, Stage<T>::kStrideDy);
#pragma unroll
      for (int j = 0; j < kTilesAcross; ++j) mma(c[i][j], a, b[j / 2].b[j % 2]);
      if (sums_bias) mma(ones_c[i], a, FragmentB{{kOnes, kOnes}});
    }
  }
  wait_copies();
  __syncthreads();  // the stages' memory is free

  Sums<T>& sums = *dynamic_shared<Sums<T>>();
#pragma unroll
  for (int i = 0; i < kTilesDown; ++i) {
#pragma unroll
    for (int j = 0; j < kTilesAcross; ++j)
      store_pack<4>(
          sums.dw[group][mine][i * kTilesAcross + j][lane_index()],
          Pack<float, 4>{{c[i][j].values[0], c[i][j].values[1], c[i][j].values[2], c[i][j].values[3]}});
    if (sums_bias && FragmentD::column(0) == 0)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        sums.dbias[group][warp_row + 16 * i + FragmentD::row(2 * half)] = ones_c[i].values[2 * half];
  }
  __syncthreads();
  add_groups(sums, map, work, part, row, column, with_bias);
}

constexpr int64_t kMultiprocessors = 132;  // of a large GPU

/// How tiles of rows × columns share the work out: tiles, and parts of the positions for each.
struct Cut {
  int64_t across, tiles, parts, positions_of_part;
  Cut(const ConvolutionShape& shape, int64_t positions, int rows, int columns, int stage) {
    constexpr int64_t kFewest = 1024;  // positions: fewer are not worth their partial sums
    across = ceil_div(shape.patch(), columns);
    tiles = across * ceil_div(shape.out_channels, rows);
    const int64_t wanted = std::min(kMultiprocessors / tiles, positions / kFewest);
    positions_of_part = ceil_div(ceil_div(positions, std::max<int64_t>(1, wanted)), stage) * stage;
    parts = ceil_div(positions, positions_of_part);
  }
};

template <typename T>
Cut cut_for(const ConvolutionShape& shape) {
  return {shape, shape.outputs() / shape.out_channels, T::kRows, T::kColumns, T::kPositions};
}

template <typename T>
bool launch_tiles(const ConvolutionBackwardWeight& args, Queue& queue) {
  const Cut cut = cut_for<T>(args.shape);
  const LaunchShape tiles{
      .name = args.name,
      .grid = {cut.tiles * cut.parts},
      .block = {T::kThreads},
      .shared_bytes = static_cast<int64_t>(std::max(kStages * sizeof(Stage<T>), sizeof(Sums<T>)))};
  if (!has_shared_bytes(queue, tiles.shared_bytes)) return false;
  WeightWork work{.x = static_cast<const bf16*>(args.x),
                  .dy = static_cast<const bf16*>(args.dy),
                  .dw = args.dw,
                  .dbias = args.dbias,
                  .part_stride = 0,
                  .positions_of_part = static_cast<int>(cut.positions_of_part),
                  .tiles = static_cast<int>(cut.tiles),
                  .tiles_across = static_cast<int>(cut.across),
                  .accumulate = args.accumulate};
  if (cut.parts == 1) {
    launch(queue, tiles, weight_gradient<T>, PatchMap(args.shape), work);
    return true;
  }
  const WeightParts parts(args, cut.parts, queue);
  work.dw = parts.dw;
  work.dbias = parts.dbias;
  work.part_stride = parts.stride;
  work.accumulate = false;
  launch(queue, tiles, weight_gradient<T>, PatchMap(args.shape), work);
  add_weight_parts(parts, args, queue);
  return true;
}

using SmallTile = Tile<1, 1, 8>;   // 64 × 32
using SquareTile = Tile<1, 2, 8>;  // 64 × 64
using LargeTile = Tile<2, 2, 4>;   // 128 × 64

/// Whether tiles of this size are enough for most multiprocessors.
template <typename T>
bool fills(const ConvolutionShape& shape) {
  const Cut cut = cut_for<T>(shape);
  return shape.out_channels > T::kRows - kWarpRows && cut.tiles * cut.parts >= kMultiprocessors * 2 / 3;
}

}  // namespace

bool convolve_weight_directly(const ConvolutionBackwardWeight& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  if (!reads_patches_directly(args.dtype, shape) || packable(8, {args.x, args.dy}) != 8) return false;
  if (fills<LargeTile>(shape)) return launch_tiles<LargeTile>(args, queue);
  if (fills<SquareTile>(shape)) return launch_tiles<SquareTile>(args, queue);
  return launch_tiles<SmallTile>(args, queue);
}

}  // namespace scrawl::SCRAWL_GPU
