// Depthwise 3×3 + bias + GELU, a vector of channels at a time along a row: each new column of three pixels is
// loaded once and goes to the three outputs that it touches, whose sums stay in registers.  A row beyond the
// border is a pixel of zeros that does not move.  Backward walks a band of rows once: it recomputes the value
// ahead of GELU, keeps three rows of g = dy · gelu' in a ring, and convolves g with the turned weights for
// dx; the same columns of g, times x, are the weight gradients.  y, if it is wanted again, costs a store, and
// the sum of dx an addition.
// Cost: bound by arithmetic, half of which is GELU.
// Limits: a band recomputes one row of g above and one below; fewer channels than a vector leave lanes idle.
#include "kernels/depthwise_gelu.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"
#include "kernels/cpu/vector.h"

namespace scrawl::cpu {

namespace {

constexpr int kBlock = 256;  // channels of a block: its rows stay in the cache
constexpr int kTaps = 9;
constexpr int kSums = kTaps + 2;  // of a channel: gradients of weights and bias, dx
constexpr int kBandRows = 40;
constexpr float kZeros[kLanes] = {};

/// A vector of channels of a row of pixels that lie `step` apart.
struct Row {
  const float* first = kZeros;
  int64_t step = 0;
};
using Rows = std::array<Row, 3>;

/// A vector of channels of the nine weights.
struct Taps {
  Vector w[3][3];
  Vector bias;
};

Taps load_taps(const float* w, const float* bias, int64_t channels, int lanes) {
  Taps taps;
  for (int tap = 0; tap < kTaps; ++tap) taps.w[tap / 3][tap % 3] = load(w + tap * channels, lanes);
  taps.bias = load(bias, lanes);
  return taps;
}

/// The weights by which g reaches dx: turned by half a turn, without bias.
Taps turned(const Taps& taps) {
  Taps result{};
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 3; ++column) result.w[row][column] = taps.w[2 - row][2 - column];
  return result;
}

/// A vector of channels; asks for the next one of the pixel, which is wanted soon: hardware does not foresee
/// strides of pixels.
Vector load_ahead(const float* channels, int lanes) {
  __builtin_prefetch(channels + kLanes);
  return load(channels, lanes);
}

/// A row of outputs from three rows of inputs.  Calls on_column(x, the three inputs there) and then, when
/// all of them are summed, on_output(x − 1, value); the last output comes after the last column.
template <typename OnColumn, typename OnOutput>
void convolve_row(const Rows& rows, int width, int lanes, const Taps& taps, OnColumn on_column,
                  OnOutput on_output) {
  Vector here{}, next = taps.bias;  // the outputs at x and x + 1 as far as they are known ahead of column x
  for (int x = 0; x < width; ++x) {
    Vector before = here;
    here = next;
    next = taps.bias;
    Vector in[3];
#pragma GCC unroll 3
    for (int row = 0; row < 3; ++row) {
      const float* const channels = rows[row].first + x * rows[row].step;
      in[row] = row == 2 ? load_ahead(channels, lanes) : load(channels, lanes);  // others are in the cache
      before += taps.w[row][2] * in[row];
      here += taps.w[row][1] * in[row];
      next += taps.w[row][0] * in[row];
    }
    on_column(x, in);
    if (x > 0) on_output(x - 1, before);
  }
  if (width > 0) on_output(width - 1, here);
}

/// How images are cut into tasks: bands of rows by blocks of channels.
struct Cut {
  int64_t images = 0;
  int height = 0, channels = 0;
  int bands() const { return static_cast<int>(ceil_div(height, kBandRows)); }
  int band_rows() const { return bands() ? static_cast<int>(ceil_div(height, bands())) : 0; }
  int64_t blocks() const { return ceil_div(channels, kBlock); }
  int64_t parts() const { return images * bands(); }
  int64_t tasks() const { return parts() * blocks(); }
};

struct Task {
  int64_t part = 0, image = 0;
  int top = 0, bottom = 0;
  int64_t channel = 0;
  int count = 0;
  Task(const Cut& cut, int64_t index) {
    channel = index % cut.blocks() * kBlock;
    part = index / cut.blocks();
    image = part / cut.bands();
    top = static_cast<int>(part % cut.bands()) * cut.band_rows();
    bottom = std::min(cut.height, top + cut.band_rows());
    count = static_cast<int>(std::min<int64_t>(kBlock, cut.channels - channel));
  }
};

/// Rows y − 1 … y + 1 of `map` [height, width, channels].
Rows rows_around(const float* map, int y, int height, int width, int64_t channels) {
  Rows rows;
  for (int i = 0; i < 3; ++i) {
    const int row = y + i - 1;
    if (row >= 0 && row < height) rows[i] = {map + row * width * channels, channels};
  }
  return rows;
}

/// Calls body(first channel of a vector, how many there are) over a task's channels.
template <typename Body>
void for_lanes(const Task& task, Body body) {
  for (int c = 0; c < task.count; c += kLanes) {
    if (const int rest = task.count - c; rest < kLanes) {
      body(c, rest);
    } else {
      body(c, std::integral_constant<int, kLanes>());
    }
  }
}

void forward_block(const DepthwiseGeluForward& args, const Task& task) {
  const int64_t offset = task.image * args.height * args.width * args.channels + task.channel;
  const float* const x = static_cast<const float*>(args.x) + offset;
  float* const y = static_cast<float*>(args.y) + offset;
  for (int row = task.top; row < task.bottom; ++row)
    for_lanes(task, [&](int c, auto lanes) {
      const Taps taps =
          load_taps(args.w + task.channel + c, args.bias + task.channel + c, args.channels, lanes);
      const Rows rows = rows_around(x + c, row, args.height, args.width, args.channels);
      float* const out = y + c + int64_t{row} * args.width * args.channels;
      convolve_row(
          rows, args.width, lanes, taps, [](int, const Vector*) {},
          [&](int column, Vector value) {
            store(gelu(value), out + column * int64_t{args.channels}, lanes);
          });
    });
}

/// One backward task.
class BackwardBlock {
 public:
  /// `ring` keeps three rows of g, row y at y mod 3.
  BackwardBlock(const DepthwiseGeluBackward& args, const Task& task, float* ring)
      : args_(args),
        task_(task),
        offset_(task.image * args.height * args.width * args.channels + task.channel),
        ring_(ring) {}

  void walk() {
    for (int y = std::max(0, task_.top - 1); y <= task_.bottom; ++y)
      for_lanes(task_, [&](int c, auto lanes) {
        const Taps taps =
            load_taps(args_.w + task_.channel + c, args_.bias + task_.channel + c, args_.channels, lanes);
        if (y < args_.height) fill_row(y, c, lanes, taps);
        if (y > task_.top) gradient_row(y - 1, c, lanes, taps);
      });
  }

  /// Stores the task's dw, dbias and sum of dx: rows of `channels`.
  void store_sums(float* partial) const {
    for (int row = 0; row < kSums; ++row)
      std::copy_n(sums_[row].data(), task_.count, partial + row * args_.channels + task_.channel);
  }

 private:
  /// A pixel's g takes a vector; pixels of a row are neighbours.
  float* ring_row(int y, int c) const { return ring_ + (int64_t{y % 3} * kBlock + c) * args_.width; }

  /// g = dy · gelu'(value ahead of GELU) for one row, and y of the task's own rows.
  template <typename Lanes>
  void fill_row(int y, int c, Lanes lanes, const Taps& taps) {
    const Rows rows = rows_around(static_cast<const float*>(args_.x) + offset_ + c, y, args_.height,
                                  args_.width, args_.channels);
    const int64_t first = offset_ + c + int64_t{y} * args_.width * args_.channels;
    const float* const dy = static_cast<const float*>(args_.dy) + first;
    const bool own = y >= task_.top && y < task_.bottom;
    float* const activated = own && args_.y ? static_cast<float*>(args_.y) + first : nullptr;
    float* const out = ring_row(y, c);
    Vector sum{};
    convolve_row(
        rows, args_.width, lanes, taps, [](int, const Vector*) {},
        [&](int x, Vector value) {
          const Vector g = load_ahead(dy + x * int64_t{args_.channels}, lanes) * gelu_derivative(value);
          store(g, out + x * kLanes);
          sum += g;
          if (activated) store(gelu(value), activated + x * int64_t{args_.channels}, lanes);
        });
    if (own) add(sum, &sums_[kTaps][c]);
  }

  /// dx of one row, and what its x add to the weight gradients: x at p and g at q belong to the tap p − q.
  template <typename Lanes>
  void gradient_row(int y, int c, Lanes lanes, const Taps& taps) {
    Rows rows;
    for (int i = 0; i < 3; ++i) {
      const int row = y + i - 1;
      if (row >= 0 && row < args_.height) rows[i] = {ring_row(row, c), kLanes};
    }
    const int64_t first = offset_ + c + int64_t{y} * args_.width * args_.channels, step = args_.channels;
    const float* const x = static_cast<const float*>(args_.x) + first;
    float* const dx = args_.dx ? static_cast<float*>(args_.dx) + first : nullptr;
    Vector gradient[3][3] = {}, sum{};
    Vector left{}, here{}, right = load(x, lanes);
    convolve_row(
        rows, args_.width, kLanes, turned(taps),
        [&](int column, const Vector* g) {
          left = here;
          here = right;
          right = column + 1 < args_.width ? load(x + (column + 1) * step, lanes) : Vector{};
#pragma GCC unroll 3
          for (int row = 0; row < 3; ++row) {
            gradient[2 - row][0] += left * g[row];
            gradient[2 - row][1] += here * g[row];
            gradient[2 - row][2] += right * g[row];
          }
        },
        [&](int column, Vector value) {
          if (!dx) return;
          sum += value;
          float* const out = dx + column * step;
          store(args_.accumulate_dx ? load(out, lanes) + value : value, out, lanes);
        });
    for (int tap = 0; tap < kTaps; ++tap) add(gradient[tap / 3][tap % 3], &sums_[tap][c]);
    add(sum, &sums_[kTaps + 1][c]);
  }

  static void add(Vector value, float* sum) {
    store(load(sum) + value, sum);
  }

  const DepthwiseGeluBackward& args_;
  const Task& task_;
  int64_t offset_;
  float* ring_;
  std::array<std::array<float, kBlock>, kSums> sums_{};
};

}  // namespace

void run(const DepthwiseGeluForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const Cut cut{args.images, args.height, args.channels};
  parallel_for(queue, cut.tasks(), [&](int64_t index) { forward_block(args, Task(cut, index)); });
}

void run(const DepthwiseGeluBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  check_results(args);
  const Cut cut{args.images, args.height, args.channels};
  const bool sums = args.dw || args.dx_sum;
  const int64_t channels = args.channels, part = kSums * channels;
  const int64_t ring = 3 * int64_t{args.width} * kBlock;
  float* const rings = queue.scratch(queue.threads() * ring + (sums ? cut.parts() * part : 0));
  float* const partials = rings + queue.threads() * ring;
  parallel_for(queue, cut.tasks(), [&](int64_t index) {
    const Task task(cut, index);
    BackwardBlock block(args, task, rings + omp_get_thread_num() * ring);
    block.walk();
    if (sums) block.store_sums(partials + task.part * part);
  });
  const auto add_up = [&](int first_row, int rows, float* target, bool accumulate) {
    if (target)
      reduce_partials(queue, partials + first_row * channels, cut.parts(), part, rows * channels, target,
                      accumulate);
  };
  add_up(0, kTaps, args.dw, args.accumulate_parameters);
  add_up(kTaps, 1, args.dbias, args.accumulate_parameters);
  add_up(kTaps + 1, 1, args.dx_sum, args.accumulate_dx_sum);
}

}  // namespace scrawl::cpu
