// Batch normalisation over rows of channels, in three launches each way: sums over parts of the rows, their
// merge per channel (in double), and the pass that writes y or dx.  So x is read twice forward, x and dy
// twice backward: bound by memory, at the bytes that the argument structs state.
//
// Variance in one pass over x without cancellation: a part sums x − s and (x − s)² with s the part's own
// first row.  Since s is one of its n values, (mean − s)² is at most n variances, usually about one; the
// difference Σ(x − s)² − (Σ(x − s))²/n is taken in double, and parts are merged around the mean of all rows.
#include "kernels/batch_norm.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSteps = 4;  // rows of a thread in the passes that write

/// The two sums of a part, [parts][2][channels].
template <int width>
__device__ void store_part(const Floats<2 * width>& sums, float* partials, int64_t column, int64_t channels) {
  float* target = partials + (2 * blockIdx.x * channels + column);
#pragma unroll
  for (int i = 0; i < width; ++i) {
    target[i] = sums[i];
    target[channels + i] = sums[width + i];
  }
}

// --- forward ----------------------------------------------------------------------------------------------

/// Per part and channel: Σ (x − s) and Σ (x − s)², s = x in the part's first row.
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    part_statistics(const T* x, float* partials, int64_t rows, int64_t channels, int64_t rows_per_part) {
  const int64_t column = my_column<width>(), first = blockIdx.x * rows_per_part;
  const int64_t end = min(rows, first + rows_per_part);
  Floats<2 * width> sums{};
  if (column < channels) {
    const auto shift = load<width>(x + first * channels + column);
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < end; row += blockDim.y) {
      const auto values = load<width>(x + row * channels + column);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float difference = values[i] - shift[i];
        sums[i] += difference;
        sums[width + i] += difference * difference;
      }
    }
  }
  add_over_groups(sums);
  if (threadIdx.y == 0 && column < channels) store_part<width>(sums, partials, column, channels);
}

/// Statistics of all rows from those of the parts; moves the running statistics.
template <typename T>
__global__ void __launch_bounds__(kPartColumns* kPartThreads)
    merge_statistics(BatchNormForward args, const float* partials, int64_t part_count,
                     int64_t rows_per_part) {
  const auto* x = static_cast<const T*>(args.x);
  const int64_t channel = column_of_parts(), channels = args.channels;
  const int64_t parts = channel < channels ? part_count : 0;
  const auto count_of = [&](int64_t part) {
    return static_cast<double>(min(rows_per_part, args.rows - part * rows_per_part));
  };
  const auto shift_of = [&](int64_t part) {
    return double{as_float(x[part * rows_per_part * channels + channel])};
  };
  const auto sum_of = [&](int64_t part) { return double{partials[2 * part * channels + channel]}; };
  const auto squares_of = [&](int64_t part) { return double{partials[(2 * part + 1) * channels + channel]}; };

  const double rows = static_cast<double>(args.rows);
  const double mean =
      sum_of_parts(parts, [&](int64_t part) { return count_of(part) * shift_of(part) + sum_of(part); }) /
      rows;
  // Σ (x − mean)² = Σ (x − s)² − 2 (mean − s) Σ (x − s) + n (mean − s)²
  const double squares = sum_of_parts(parts, [&](int64_t part) {
    const double distance = mean - shift_of(part);
    return squares_of(part) + distance * (count_of(part) * distance - 2.0 * sum_of(part));
  });
  if (threadIdx.y > 0 || channel >= channels) return;
  const double momentum = args.momentum, unbiased = squares / max(rows - 1.0, 1.0);
  args.mean[channel] = static_cast<float>(mean);
  args.rstd[channel] = static_cast<float>(1.0 / sqrt(max(squares, 0.0) / rows + args.eps));
  args.running_mean[channel] =
      static_cast<float>((1.0 - momentum) * args.running_mean[channel] + momentum * mean);
  args.running_var[channel] =
      static_cast<float>((1.0 - momentum) * args.running_var[channel] + momentum * unbiased);
}

/// y from the statistics of the batch, or, `evaluation`, from the running ones, which it copies.
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) normalise(BatchNormForward args, bool evaluation) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<T*>(args.y);
  const int64_t column = my_column<width>(), channels = args.channels;
  if (column >= channels) return;
  auto mean = load_unaligned<width>((evaluation ? args.running_mean : args.mean) + column);
  auto rstd = load_unaligned<width>((evaluation ? args.running_var : args.rstd) + column);
  if (evaluation) {
#pragma unroll
    for (int i = 0; i < width; ++i) rstd[i] = 1.0f / sqrtf(rstd[i] + args.eps);
    if (blockIdx.x == 0 && threadIdx.y == 0)
#pragma unroll
      for (int i = 0; i < width; ++i) {
        args.mean[column + i] = mean[i];
        args.rstd[column + i] = rstd[i];
      }
  }
  auto scale = load_unaligned<width>(args.gamma + column);
  const auto beta = load_unaligned<width>(args.beta + column);
#pragma unroll
  for (int i = 0; i < width; ++i) scale[i] *= rstd[i];

  const int64_t first = int64_t{blockIdx.x} * (blockDim.y * kSteps) + threadIdx.y;
  Pack<T, width> packs[kSteps];  // all loads are under way before the first store
#pragma unroll
  for (int step = 0; step < kSteps; ++step)
    if (const int64_t row = first + step * blockDim.y; row < args.rows)
      packs[step] = load_pack<width>(x + row * channels + column);
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t row = first + step * blockDim.y;
    if (row >= args.rows) return;
    Floats<width> values;
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] = (as_float(packs[step][i]) - mean[i]) * scale[i] + beta[i];
    store<width>(y + row * channels + column, values);
  }
}

// --- backward ---------------------------------------------------------------------------------------------

/// Per part and channel: Σ dy and Σ dy · (x − mean).
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    part_products(BatchNormBackward args, float* partials, int64_t rows_per_part) {
  const auto* x = static_cast<const T*>(args.x);
  const auto* dy = static_cast<const T*>(args.dy);
  const int64_t column = my_column<width>(), channels = args.channels, first = blockIdx.x * rows_per_part;
  const int64_t end = min(args.rows, first + rows_per_part);
  Floats<2 * width> sums{};
  if (column < channels) {
    const auto mean = load_unaligned<width>(args.mean + column);
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < end; row += blockDim.y) {
      const auto gradients = load<width>(dy + row * channels + column);
      const auto values = load<width>(x + row * channels + column);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        sums[i] += gradients[i];
        sums[width + i] += gradients[i] * (values[i] - mean[i]);
      }
    }
  }
  add_over_groups(sums);
  if (threadIdx.y == 0 && column < channels) store_part<width>(sums, partials, column, channels);
}

/// What dx needs per channel: dx = scale · (dy − shift − (x − mean) · slope).
struct Factors {
  float *shift, *slope, *scale;
};

/// Parameter gradients and factors from the sums of the parts.
__global__ void __launch_bounds__(kPartColumns* kPartThreads)
    merge_products(BatchNormBackward args, const float* partials, int64_t part_count, Factors factors) {
  const int64_t channel = column_of_parts(), channels = args.channels;
  const int64_t parts = channel < channels ? part_count : 0;
  const double sum =
      sum_of_parts(parts, [=](int64_t part) { return double{partials[2 * part * channels + channel]}; });
  const double product = sum_of_parts(
      parts, [=](int64_t part) { return double{partials[(2 * part + 1) * channels + channel]}; });
  if (threadIdx.y > 0 || channel >= channels) return;
  const double rstd = args.rstd[channel], rows = static_cast<double>(max(args.rows, int64_t{1}));
  factors.shift[channel] = args.training ? static_cast<float>(sum / rows) : 0.0f;
  factors.slope[channel] = args.training ? static_cast<float>(product * rstd * rstd / rows) : 0.0f;
  factors.scale[channel] = static_cast<float>(args.gamma[channel] * rstd);
  if (args.dgamma == nullptr) return;
  const bool add = args.accumulate_parameters;
  args.dgamma[channel] = (add ? args.dgamma[channel] : 0.0f) + static_cast<float>(product * rstd);
  args.dbeta[channel] = (add ? args.dbeta[channel] : 0.0f) + static_cast<float>(sum);
}

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) input_gradient(BatchNormBackward args, Factors factors) {
  const auto* x = static_cast<const T*>(args.x);
  const auto* dy = static_cast<const T*>(args.dy);
  auto* dx = static_cast<T*>(args.dx);
  const int64_t column = my_column<width>(), channels = args.channels;
  if (column >= channels) return;
  const auto mean = load_unaligned<width>(args.mean + column);
  const auto shift = load_unaligned<width>(factors.shift + column);
  const auto slope = load_unaligned<width>(factors.slope + column);
  const auto scale = load_unaligned<width>(factors.scale + column);

  const int64_t first = int64_t{blockIdx.x} * (blockDim.y * kSteps) + threadIdx.y;
  Pack<T, width> values[kSteps], gradients[kSteps];  // all loads are under way before the first store
#pragma unroll
  for (int step = 0; step < kSteps; ++step)
    if (const int64_t row = first + step * blockDim.y; row < args.rows) {
      values[step] = load_pack<width>(x + row * channels + column);
      gradients[step] = load_pack<width>(dy + row * channels + column);
    }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t row = first + step * blockDim.y;
    if (row >= args.rows) return;
    Floats<width> result{};
    if (args.accumulate_dx) result = load<width>(dx + row * channels + column);
#pragma unroll
    for (int i = 0; i < width; ++i)
      result[i] += scale[i] * (as_float(gradients[step][i]) - shift[i] -
                               (as_float(values[step][i]) - mean[i]) * slope[i]);
    store<width>(dx + row * channels + column, result);
  }
}

}  // namespace

void run(const BatchNormForward& args, Queue& queue) {
  const int64_t channels = args.channels;
  const bool evaluation = !args.training || args.rows == 0;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(channels, {args.x, args.y}), [&](auto width) {
      const ColumnBlock block(channels / width);
      if (!evaluation) {
        const RowParts parts(args.rows, block);
        float* partials = queue.scratch(parts.count * 2 * channels);
        launch(queue, block.shape(args.name, parts.count), part_statistics<T, width>,
               static_cast<const T*>(args.x), partials, args.rows, channels, parts.rows);
        launch(queue, shape_for_parts(args.name, channels), merge_statistics<T>, args, partials, parts.count,
               parts.rows);
      }
      const int64_t blocks = std::max<int64_t>(1, ceil_div(args.rows, block.groups * kSteps));
      launch(queue, block.shape(args.name, blocks), normalise<T, width>, args, evaluation);
    });
  });
}

void run(const BatchNormBackward& args, Queue& queue) {
  const int64_t channels = args.channels;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(channels, {args.x, args.dy, args.dx}), [&](auto width) {
      const ColumnBlock block(channels / width);
      const bool needs_sums = args.training || args.dgamma != nullptr;
      const RowParts parts(needs_sums ? args.rows : 0, block);
      const int64_t partial_size = parts.count * 2 * channels;
      float* partials = queue.scratch(partial_size + 3 * channels);
      float* shift = partials + partial_size;
      const Factors factors{shift, shift + channels, shift + 2 * channels};
      launch(queue, block.shape(args.name, parts.count), part_products<T, width>, args, partials, parts.rows);
      launch(queue, shape_for_parts(args.name, channels), merge_products, args, partials, parts.count,
             factors);
      if (args.dx == nullptr) return;
      launch(queue, block.shape(args.name, ceil_div(args.rows, block.groups * kSteps)),
             input_gradient<T, width>, args, factors);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
