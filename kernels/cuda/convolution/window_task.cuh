#pragma once
// What blocks of windows_wgmma.cu compute, and the copies that they compute it from.
#include "kernels/cuda/convolution/windows.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/wgmma.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kStages = 3;
inline constexpr int kColumns = 2 * kTileColumns, kDepth = 64;

using Tile = bf16[64 * kTileColumns];

struct alignas(1024) ConvolutionShared {
  struct {
    Tile map[2];  // of two windows: [positions, depth]
    Tile w[2];    // [columns, depth], or two of [depth, columns]
  } stages[kStages];
  CopyBarrier arrived[kStages];
};

enum class Direction { forward, to_input };

/// A launch, in numbers.
struct WindowProduct {
  TensorMap map, w;
  bf16* result;      // [images, height, width, columns]
  const bf16* bias;  // null but forward
  int height, width, depth, columns;
  int kernel, stride, padding;
  Windows windows;  // of outputs, or of a phase's cells
  int window_count, tiles_across, parts;
  bool accumulate;
  float* partials;  // [parts, images, height, width, columns], when there are several parts

  __host__ __device__ int64_t values() const {
    return int64_t{window_count} / windows.per_map() * height * width * columns;
  }
};

/// The taps of a row or column of the kernel that a phase meets: first, first + step, …
struct Taps {
  int first, step, count;
  template <Direction direction>
  static __device__ Taps of(const WindowProduct& product, int phase) {
    if constexpr (direction == Direction::forward) return {0, 1, product.kernel};
    const int first = (phase + product.padding) % product.stride;
    return {first, product.stride, max(0, (product.kernel - first + product.stride - 1) / product.stride)};
  }
};

/// What a block computes.
template <Direction direction>
struct Task {
  static constexpr bool kForward = direction == Direction::forward;
  const WindowProduct& product;
  int window, column, phase_y, phase_x, part;
  Taps rows, columns;
  int first_step, steps;
  bool tall, wide;  // has a second window; more than 64 columns

  __device__ Task(const WindowProduct& p, int block) : product(p) {
    column = block % p.tiles_across * kColumns;
    block /= p.tiles_across;
    part = block % p.parts;
    block /= p.parts;
    const int pairs = (p.window_count + 1) / 2;
    window = block % pairs * 2;
    const int phase = block / pairs;
    phase_y = phase / p.stride;
    phase_x = phase % p.stride;
    rows = Taps::of<direction>(p, phase_y);
    columns = Taps::of<direction>(p, phase_x);
    const int all = rows.count * columns.count * ((p.depth + kDepth - 1) / kDepth);
    const int steps_of_part = (all + p.parts - 1) / p.parts;
    first_step = min(part * steps_of_part, all);
    steps = min(steps_of_part, all - first_step);
    tall = window + 1 < p.window_count;
    wide = column + kTileColumns < p.columns;
  }

  /// Where a position of a window lies in the result; negative where it does not exist.
  __device__ int64_t result_of(int number, int position) const {
    const WindowProduct& p = product;
    const WindowPlace place(p.windows, number);
    const int spread = kForward ? 1 : p.stride;
    const int y = (place.down + position / p.windows.width) * spread + phase_y;
    const int x = (place.across + position % p.windows.width) * spread + phase_x;
    if (position >= p.windows.positions() || y >= p.height || x >= p.width) return -1;
    return ((int64_t{place.image} * p.height + y) * p.width + x) * p.columns;
  }
};

/// One tap after the other of a row or column of the kernel, and how far it shifts windows.
template <Direction direction>
struct TapWalk {
  static constexpr bool kForward = direction == Direction::forward;
  int tap;
  Shift shift;

  /// A cell x of phase p meets the outputs (x + padding − tap) / stride, where x = stride · column + p.
  __device__ TapWalk(const WindowProduct& p, const Taps& taps, int phase, int number)
      : tap(taps.first + number * taps.step),
        shift(kForward ? Shift(tap - p.padding, p.stride) : Shift((phase + p.padding - tap) / p.stride, 1)) {}
  __device__ void advance(const WindowProduct& p) {
    tap += kForward ? 1 : p.stride;
    if constexpr (!kForward) {
      --shift.quotient;
    } else if (++shift.remainder == p.stride) {
      shift.remainder = 0;
      ++shift.quotient;
    }
  }
};

/// Starts the copies of one stage after the other; by one thread, which keeps the place, since computing it
/// anew would take longer than a stage's products.
template <Direction direction>
class Copies {
  static constexpr bool kForward = direction == Direction::forward;

 public:
  __device__ explicit Copies(const Task<direction>& task)
      : Copies(task, task.first_step / pieces(task.product), task.first_step % pieces(task.product)) {}

  __device__ __forceinline__ void start_next(ConvolutionShared& memory, int stage_number) {
    const WindowProduct& p = task_.product;
    auto& stage = memory.stages[stage_number];
    CopyBarrier& arrived = memory.arrived[stage_number];
    expect_bytes(arrived, bytes_);
    copy_tile_bulk(stage.map[0], p.map, shifted(windows_[0], x_.shift, y_.shift, p.depth, depth_), arrived);
    if (task_.tall)
      copy_tile_bulk(stage.map[1], p.map, shifted(windows_[1], x_.shift, y_.shift, p.depth, depth_), arrived);
    const int tap = y_.tap * p.kernel + x_.tap, column = task_.column;
    if constexpr (kForward) {
      copy_tile_bulk(stage.w[0], p.w, {{depth_, tap, column, 0, 0}}, arrived);
    } else {
      copy_tile_bulk(stage.w[0], p.w, {{column, tap, depth_, 0, 0}}, arrived);
      if (task_.wide) copy_tile_bulk(stage.w[1], p.w, {{column + kTileColumns, tap, depth_, 0, 0}}, arrived);
    }
    advance();
  }

 private:
  static __device__ int pieces(const WindowProduct& p) { return (p.depth + kDepth - 1) / kDepth; }
  __device__ Copies(const Task<direction>& task, int tap, int piece)
      : task_(task),
        windows_{{task.product.windows, task.window}, {task.product.windows, task.window + 1}},
        first_x_(task.product, task.columns, task.phase_x, 0),
        x_(task.product, task.columns, task.phase_x, tap % max(1, task.columns.count)),
        y_(task.product, task.rows, task.phase_y, tap / max(1, task.columns.count)),
        depth_(piece * kDepth) {
    const int w_tiles = kForward || task.wide ? 2 : 1;
    const int rows = task.product.windows.positions() * (1 + task.tall) + 64 * w_tiles;
    bytes_ = rows * kTileColumns * static_cast<int>(sizeof(bf16));
  }
  __device__ __forceinline__ void advance() {
    const WindowProduct& p = task_.product;
    depth_ += kDepth;
    if (depth_ < p.depth) return;
    depth_ = 0;
    x_.advance(p);
    if (x_.tap < p.kernel) return;
    x_ = first_x_;
    y_.advance(p);
  }

  const Task<direction>& task_;
  const WindowPlace windows_[2];
  const TapWalk<direction> first_x_;
  TapWalk<direction> x_, y_;
  int depth_, bytes_;
};

}  // namespace scrawl::SCRAWL_GPU
