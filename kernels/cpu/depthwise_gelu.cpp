// Depthwise 3×3 + bias + GELU over blocks of channels, four pixels of a row at a time: the pixels share their
// neighbours and the nine weights, and a block of a few rows stays in the cache.  A pixel beyond the border
// is a pointer to zeros, so that no loop has special cases. Backward walks a band of rows once: it recomputes
// the value ahead of GELU, keeps three rows of g = dy · gelu' in a ring, adds the band's weight gradients,
// and convolves g with the turned weights for dx. Cost: forward about as long as memory takes, backward bound
// by arithmetic.  Limits: a band recomputes one row of g above and one below; blocks of fewer than 16
// channels leave vector lanes idle.
#include "kernels/depthwise_gelu.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"

namespace scrawl::cpu {

namespace {

constexpr int kBlock = 256;  // channels of a block
constexpr int kPixels = 4;   // pixels of a row computed together
constexpr int kTaps = 9;
constexpr int kBandRows = 40;

using Channels = std::array<float, kBlock>;
constexpr Channels kZeros{};

/// Three rows of a map that a row of outputs reads, one block of channels of them; a row beyond the border is
/// null.  A pixel's channels are contiguous, pixels are `stride` apart.
struct Rows {
  const float* at[3];
  int width = 0;
  int64_t stride = 0;
};

/// What `Pixels` neighbouring outputs of one row read: three rows of Pixels + 2 pixels.
template <int Pixels>
struct Window {
  const float* at[3][Pixels + 2];
  Window(const Rows& rows, int x) {
    for (int row = 0; row < 3; ++row)
      for (int i = 0; i < Pixels + 2; ++i) {
        const int column = x + i - 1;
        const bool inside = rows.at[row] && column >= 0 && column < rows.width;
        at[row][i] = inside ? rows.at[row] + column * rows.stride : kZeros.data();
      }
  }
};

struct Taps {
  Channels w[kTaps];
  Channels bias;
};

Taps load_taps(const float* w, const float* bias, int64_t channels, int64_t first, int count) {
  Taps taps;
  for (int tap = 0; tap < kTaps; ++tap) std::copy_n(w + tap * channels + first, count, taps.w[tap].data());
  std::copy_n(bias + first, count, taps.bias.data());
  return taps;
}

/// The weights by which g reaches dx: turned by half a turn, without bias.
Taps turned(const Taps& taps) {
  Taps result;
  for (int tap = 0; tap < kTaps; ++tap) result.w[tap] = taps.w[kTaps - 1 - tap];
  result.bias.fill(0.0f);
  return result;
}

template <int Pixels>
void convolve(const Window<Pixels>& in, const Taps& taps, int count, Channels* out) {
#pragma omp simd
  for (int c = 0; c < count; ++c) {
    float sum[Pixels];
#pragma GCC unroll 8
    for (int p = 0; p < Pixels; ++p) sum[p] = taps.bias[c];
#pragma GCC unroll 8
    for (int row = 0; row < 3; ++row)
#pragma GCC unroll 8
      for (int column = 0; column < 3; ++column)
#pragma GCC unroll 8
        for (int p = 0; p < Pixels; ++p) sum[p] += taps.w[3 * row + column][c] * in.at[row][p + column][c];
#pragma GCC unroll 8
    for (int p = 0; p < Pixels; ++p) out[p][c] = sum[p];
  }
}

/// Adds Σ_p g[p] · x over the window to the nine weight gradients, and Σ_p g[p] to the bias gradient.
template <int Pixels>
void add_weight_gradients(const Window<Pixels>& in, const Channels* g, int count, Taps& gradient) {
#pragma omp simd
  for (int c = 0; c < count; ++c) {
    float sum[kTaps + 1];
#pragma GCC unroll 16
    for (int tap = 0; tap < kTaps + 1; ++tap) sum[tap] = 0.0f;
#pragma GCC unroll 8
    for (int p = 0; p < Pixels; ++p) {
      sum[kTaps] += g[p][c];
#pragma GCC unroll 8
      for (int row = 0; row < 3; ++row)
#pragma GCC unroll 8
        for (int column = 0; column < 3; ++column)
          sum[3 * row + column] += g[p][c] * in.at[row][p + column][c];
    }
#pragma GCC unroll 16
    for (int tap = 0; tap < kTaps; ++tap) gradient.w[tap][c] += sum[tap];
    gradient.bias[c] += sum[kTaps];
  }
}

/// Calls body(x, integral constant: how many pixels) so that a row is covered.
template <typename Body>
void for_pixels(int width, Body body) {
  int x = 0;
  for (; x + kPixels <= width; x += kPixels) body(x, std::integral_constant<int, kPixels>());
  for (; x < width; ++x) body(x, std::integral_constant<int, 1>());
}

/// Asks for the channels of `pixels` pixels ahead of their use: a block is a short piece of every pixel,
/// which the hardware does not foresee.
template <bool kForWriting>
void prefetch(const float* first, int pixels, int64_t stride, int count) {
  for (int p = 0; p < pixels; ++p)
    for (int c = 0; c < count; c += 16) __builtin_prefetch(first + p * stride + c, kForWriting);
}

/// Asks for the pixels of the lowest row that the next window brings into the cache.
template <int Pixels>
void prefetch_next(const Rows& rows, int x, int count) {
  const int first = std::min(x + Pixels + 1, rows.width);
  if (rows.at[2])
    prefetch<false>(rows.at[2] + first * rows.stride, std::min(Pixels, rows.width - first), rows.stride,
                    count);
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
  Rows rows{{}, width, channels};
  for (int i = 0; i < 3; ++i) {
    const int row = y + i - 1;
    rows.at[i] = row >= 0 && row < height ? map + row * width * channels : nullptr;
  }
  return rows;
}

void forward_block(const DepthwiseGeluForward& args, const Task& task) {
  const int64_t offset = task.image * args.height * args.width * args.channels + task.channel;
  const float* const x = static_cast<const float*>(args.x) + offset;
  float* const y = static_cast<float*>(args.y) + offset;
  const Taps taps = load_taps(args.w, args.bias, args.channels, task.channel, task.count);
  for (int row = task.top; row < task.bottom; ++row) {
    const Rows rows = rows_around(x, row, args.height, args.width, args.channels);
    for_pixels(args.width, [&](int column, auto pixels) {
      float* first = y + (int64_t{row} * args.width + column) * args.channels;
      prefetch<true>(first, pixels, args.channels, task.count);
      prefetch_next<pixels>(rows, column, task.count);
      Channels value[pixels];
      convolve(Window<pixels>(rows, column), taps, task.count, value);
      for (int p = 0; p < pixels; ++p) {
        float* out = first + p * int64_t{args.channels};
#pragma omp simd
        for (int c = 0; c < task.count; ++c) out[c] = gelu(value[p][c]);
      }
    });
  }
}

/// One backward task.  g lies in a ring of three rows, row y at y mod 3, `kBlock` channels a pixel.
class BackwardBlock {
 public:
  BackwardBlock(const DepthwiseGeluBackward& args, const Task& task, float* ring)
      : args_(args),
        task_(task),
        offset_(task.image * args.height * args.width * args.channels + task.channel),
        ring_(ring),
        taps_(load_taps(args.w, args.bias, args.channels, task.channel, task.count)),
        turned_(turned(taps_)) {
    for (Channels& w : gradient_.w) w.fill(0.0f);
    gradient_.bias.fill(0.0f);
  }

  void walk() {
    for (int y = std::max(0, task_.top - 1); y <= task_.bottom; ++y) {
      if (y < args_.height) fill_row(y);
      if (args_.dx && y > task_.top) input_gradient_row(y - 1);
    }
  }

  /// Stores the task's dw and dbias: ten rows of `channels`.
  void store_gradients(float* partial) const {
    for (int tap = 0; tap < kTaps; ++tap)
      std::copy_n(gradient_.w[tap].data(), task_.count, partial + tap * args_.channels + task_.channel);
    std::copy_n(gradient_.bias.data(), task_.count, partial + kTaps * args_.channels + task_.channel);
  }

 private:
  float* ring_row(int y) const { return ring_ + int64_t{y % 3} * args_.width * kBlock; }

  /// g = dy · gelu'(value ahead of GELU) for one row, and the row's share of the weight gradients.
  void fill_row(int y) {
    const bool counts = args_.dw && y >= task_.top && y < task_.bottom;
    const Rows rows = rows_around(static_cast<const float*>(args_.x) + offset_, y, args_.height, args_.width,
                                  args_.channels);
    const float* dy =
        static_cast<const float*>(args_.dy) + offset_ + int64_t{y} * args_.width * args_.channels;
    float* out = ring_row(y);
    for_pixels(args_.width, [&](int column, auto pixels) {
      prefetch<false>(dy + column * int64_t{args_.channels}, pixels, args_.channels, task_.count);
      prefetch_next<pixels>(rows, column, task_.count);
      const Window<pixels> window(rows, column);
      Channels g[pixels];
      convolve(window, taps_, task_.count, g);
      for (int p = 0; p < pixels; ++p) {
        const float* in = dy + (column + p) * int64_t{args_.channels};
        float* copy = out + (column + p) * kBlock;
#pragma omp simd
        for (int c = 0; c < task_.count; ++c) copy[c] = g[p][c] = in[c] * gelu_derivative(g[p][c]);
      }
      if (counts) add_weight_gradients(window, g, task_.count, gradient_);
    });
  }

  void input_gradient_row(int y) {
    Rows rows{{}, args_.width, kBlock};
    for (int i = 0; i < 3; ++i) {
      const int row = y + i - 1;
      rows.at[i] = row >= 0 && row < args_.height ? ring_row(row) : nullptr;
    }
    float* dx = static_cast<float*>(args_.dx) + offset_ + int64_t{y} * args_.width * args_.channels;
    for_pixels(args_.width, [&](int column, auto pixels) {
      float* first = dx + column * int64_t{args_.channels};
      prefetch<true>(first, pixels, args_.channels, task_.count);
      Channels value[pixels];
      convolve(Window<pixels>(rows, column), turned_, task_.count, value);
      for (int p = 0; p < pixels; ++p) {
        float* out = first + p * int64_t{args_.channels};
        if (args_.accumulate_dx) {
#pragma omp simd
          for (int c = 0; c < task_.count; ++c) out[c] += value[p][c];
        } else {
          std::copy_n(value[p].data(), task_.count, out);
        }
      }
    });
  }

  const DepthwiseGeluBackward& args_;
  const Task& task_;
  int64_t offset_;
  float* ring_;
  Taps taps_, turned_;
  Taps gradient_;
};

}  // namespace

void run(const DepthwiseGeluForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const Cut cut{args.images, args.height, args.channels};
  parallel_for(queue, cut.tasks(), [&](int64_t index) { forward_block(args, Task(cut, index)); });
}

void run(const DepthwiseGeluBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const Cut cut{args.images, args.height, args.channels};
  const int64_t parameters = (kTaps + 1) * int64_t{args.channels};
  const int64_t ring = 3 * int64_t{args.width} * kBlock;
  float* const rings = queue.scratch(queue.threads() * ring + (args.dw ? cut.parts() * parameters : 0));
  float* const partials = rings + queue.threads() * ring;
  parallel_for(queue, cut.tasks(), [&](int64_t index) {
    const Task task(cut, index);
    BackwardBlock block(args, task, rings + omp_get_thread_num() * ring);
    block.walk();
    if (args.dw) block.store_gradients(partials + task.part * parameters);
  });
  if (!args.dw) return;
  const int64_t weights = kTaps * int64_t{args.channels};
  reduce_partials(queue, partials, cut.parts(), parameters, weights, args.dw, args.accumulate_parameters);
  reduce_partials(queue, partials + weights, cut.parts(), parameters, args.channels, args.dbias,
                  args.accumulate_parameters);
}

}  // namespace scrawl::cpu
