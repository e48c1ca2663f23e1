// The input's gradient of a convolution of bf16 without columns.  Cells of x whose row and column have the
// same remainders by the stride (a phase) are seen through the same taps of the kernel, one each of
// kernel² / stride² on average: dx of a phase's cells is a product [cells, taps · outputs] · [.., channels],
// with rows of dy of the patches that saw a cell, and w of the taps.  A block computes one tile of it and
// writes it to its place; a spatial reduction (kernel = stride) has one tap for each phase, and none for the
// cells in a border that no patch reaches.
// Cost: dy is read once for each tap and column of tiles, w once for each row of tiles, mostly from the
// second-level cache.
// Limits: see reads_patches_directly().
#include "kernels/cuda/convolution/direct.h"
#include "kernels/cuda/convolution/geometry.cuh"
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kRows = 128, kColumns = 64, kTerms = 64;  // of a block's tile, and of a stage
constexpr int kThreads = 256, kAcross = 2, kMostStages = 3;
constexpr int kStrideDy = kTerms + kRowPadding, kStrideW = kColumns + kRowPadding;

struct Stage {
  alignas(16) bf16 dy[kRows * kStrideDy];
  alignas(16) bf16 w[kTerms * kStrideW];
};

/// The map of x as stride² phases of cells, all of as many as the largest has.
struct PhaseMap : ConvolutionGeometry {
  int outputs, cells;
  int tiles_across, tiles;  // of a phase
  Divisor of_stride, of_cells_high, of_cells_wide;

  explicit PhaseMap(const ConvolutionShape& s)
      : ConvolutionGeometry(s),
        outputs(s.out_channels),
        of_stride(s.stride),
        of_cells_high(ceil_div(s.height, s.stride)),
        of_cells_wide(ceil_div(s.width, s.stride)) {
    cells = static_cast<int>(s.images * ceil_div(height, stride) * ceil_div(width, stride));
    tiles_across = static_cast<int>(ceil_div(channels, kColumns));
    tiles = static_cast<int>(ceil_div(cells, kRows)) * tiles_across;
  }
};

/// One dimension of a phase: cells first, first + stride, … are seen through taps tap, tap + stride, …
struct PhaseAxis {
  int first, tap, taps;
  __device__ PhaseAxis(int phase, const PhaseMap& map)
      : first((phase - map.padding % map.stride + map.stride) % map.stride),
        tap(phase),
        taps(max(0, (map.kernel - phase + map.stride - 1) / map.stride)) {}
};

/// A cell of x, and the last patch that sees it; without a cell, patches before the first.
struct Cell {
  int row, column, image;
  bool exists;
  __device__ Cell(int index, const PhaseAxis& down, const PhaseAxis& across, const PhaseMap& map) {
    const auto [line, x] = map.of_cells_wide.divide(index);
    const auto [n, y] = map.of_cells_high.divide(line);
    row = down.first + y * map.stride;
    column = across.first + x * map.stride;
    image = n;
    exists = index < map.cells && row < map.height && column < map.width;
  }
  __device__ int offset(const PhaseMap& map) const {
    return ((image * map.height + row) * map.width + column) * map.channels;
  }
};

/// A thread's share of copying both factors of a tile, stage by stage: tap after tap of the phase, and for
/// each of them kTerms outputs after the others.
class FactorCopies {
 public:
  /// The tile begins with the phase's cell `first` and with channel `column`.
  __device__ FactorCopies(const PhaseMap& map, const PhaseAxis& down, const PhaseAxis& across, const bf16* dy,
                          const bf16* w, int first, int column)
      : map_(map), down_(down), across_(across), dy_(dy), w_(w), column_(column) {
#pragma unroll
    for (int i = 0; i < kMineDy; ++i) {
      const Cell cell(first + row_ + i * kRowsAtOnce, down, across, map);
      const int row = map.of_stride.divide(cell.row + map.padding).quotient;
      patches_[i] = {cell.exists ? row : -1, map.of_stride.divide(cell.column + map.padding).quotient,
                     cell.image * map.out_height + row};
    }
  }
  /// Starts the copies of the next stage.
  __device__ __forceinline__ void start(Stage& stage) {
    const int weights =
        ((down_.tap + tap_row_ * map_.stride) * map_.kernel + across_.tap + tap_column_ * map_.stride) *
        map_.channels;
#pragma unroll
    for (int i = 0; i < kMineDy; ++i) {
      const Patch& patch = patches_[i];
      const int y = patch.row - tap_row_, x = patch.column - tap_column_;
      const bool exists = static_cast<unsigned>(y) < static_cast<unsigned>(map_.out_height) &&
                          static_cast<unsigned>(x) < static_cast<unsigned>(map_.out_width) &&
                          output_ + at_ < map_.outputs;
      const int offset = ((patch.line - tap_row_) * map_.out_width + x) * map_.outputs + output_ + at_;
      copy_async<16>(stage.dy + (row_ + i * kRowsAtOnce) * kStrideDy + at_, exists ? dy_ + offset : dy_,
                     exists);
    }
#pragma unroll
    for (int i = 0; i < kMineW; ++i) {
      const int row = row_ + i * kRowsAtOnce;
      const bool exists = output_ + row < map_.outputs && column_ + at_ < map_.channels;
      const int offset =
          (output_ + row) * map_.kernel * map_.kernel * map_.channels + weights + column_ + at_;
      copy_async<16>(stage.w + row * kStrideW + at_, exists ? w_ + offset : w_, exists);
    }
    output_ += kTerms;
    if (output_ < map_.outputs) return;
    output_ = 0;
    if (++tap_column_ == across_.taps) tap_column_ = 0, ++tap_row_;
  }

 private:
  static_assert(kTerms == kColumns);  // so that a thread's packs lie alike in both factors
  static constexpr int kPacks = kTerms / 8, kRowsAtOnce = kThreads / kPacks;
  static constexpr int kMineDy = kRows / kRowsAtOnce, kMineW = kTerms / kRowsAtOnce;
  /// The last patch that sees a cell.
  struct Patch {
    int row, column, line;  // in the map of dy; line: of all images
  };

  const PhaseMap& map_;
  const PhaseAxis &down_, &across_;
  const bf16 *dy_, *w_;
  int column_;
  int row_ = threadIdx.x / kPacks, at_ = threadIdx.x % kPacks * 8;  // of the first pack in a stage
  Patch patches_[kMineDy];
  int tap_row_ = 0, tap_column_ = 0, output_ = 0;  // of the next stage
};

__global__ void __launch_bounds__(kThreads, 3)
    input_gradient(PhaseMap map, const bf16* dy, const bf16* w, bf16* dx, int stages, bool accumulate) {
  auto* const memory = dynamic_shared<Stage>();
  const int phase = blockIdx.x / map.tiles, tile = blockIdx.x % map.tiles;
  const PhaseAxis down(phase / map.stride, map), across(phase % map.stride, map);
  const int first = tile / map.tiles_across * kRows, column = tile % map.tiles_across * kColumns;
  const int steps = down.taps * across.taps * ((map.outputs + kTerms - 1) / kTerms);
  FactorCopies copies(map, down, across, dy, w, first, column);
  int slot = 0;
  const auto start = [&](int step) {
    if (step < steps) {
      copies.start(memory[slot]);
      slot = slot + 1 < stages ? slot + 1 : 0;
    }
    commit_copies();
  };

  const int warp_row = warp_index() / kAcross * 32, warp_column = warp_index() % kAcross * 32;
  FragmentD results[2][4];
  start(0);
  start(1);
  for (int step = 0, read = 0; step < steps; ++step) {
    wait_copies<1>();
    __syncthreads();  // the stage has arrived, and the one before it has been read
    start(step + 2);
    const bf16* const a = memory[read].dy + warp_row * kStrideDy;
    const bf16* const b = memory[read].w + warp_column;
    read = read + 1 < stages ? read + 1 : 0;
#pragma unroll
    for (int k = 0; k < kTerms; k += 16) {
      const FragmentPairB pairs[2] = {load_pair(b + k * kStrideW, kStrideW),
                                      load_pair(b + k * kStrideW + 16, kStrideW)};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const FragmentA rows = load_a(a + 16 * i * kStrideDy + k, kStrideDy);
#pragma unroll
        for (int j = 0; j < 4; ++j) mma(results[i][j], rows, pairs[j / 2].b[j % 2]);
      }
    }
  }
  wait_copies();
#pragma unroll
  for (int i = 0; i < 2; ++i)
    for_packs<4>(
        results[i], [](int) { return 1.0f; },
        [&](int row, int at, Floats<8>& values) {
          const Cell cell(first + warp_row + 16 * i + row, down, across, map);
          if (!cell.exists || column + warp_column + at >= map.channels) return;
          bf16* const to = dx + cell.offset(map) + column + warp_column + at;
          if (accumulate) add_stored(values, to);
          store<8>(to, values);
        });
}

}  // namespace

bool convolve_input_directly(const ConvolutionBackwardInput& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  if (!reads_patches_directly(args.dtype, shape) || packable(8, {args.dy, args.w, args.dx}) != 8)
    return false;
  const PhaseMap map(shape);
  const int64_t taps = ceil_div(shape.kernel, shape.stride);
  const int64_t steps = taps * taps * ceil_div(shape.out_channels, kTerms);
  const int stages = static_cast<int>(std::min<int64_t>(steps, kMostStages));
  const LaunchShape tiles{.name = args.name,
                          .grid = {int64_t{shape.stride} * shape.stride * map.tiles},
                          .block = {kThreads},
                          .shared_bytes = stages * static_cast<int64_t>(sizeof(Stage))};
  launch(queue, tiles, input_gradient, map, static_cast<const bf16*>(args.dy),
         static_cast<const bf16*>(args.w), static_cast<bf16*>(args.dx), stages, args.accumulate);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
