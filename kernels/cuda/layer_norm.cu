// Layer norm over rows of channels.  A row is shared by up to 32 lanes, as many as it has packs of 16 bytes,
// so that a warp takes several short rows at a time.  Lanes keep their packs in registers: the row is read
// once, and mean, variance (two passes, see the header) and result follow from there.
// Backward: the same layout; each block walks over the rows of one part and keeps its share of dgamma and
// dbeta in registers, too, so that x and dy are read once for all three gradients.  Partial sums are added
// in a second launch, in fixed order.
// Cost: bound by memory.  Limits: rows of more than 128 packs, and channels that are not whole packs, are
// read value by value, once for every pass, and their dgamma and dbeta take a launch of their own.
#include "kernels/layer_norm.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

/// This lane's share of a row: packs threadIdx.x, threadIdx.x + lanes, … of `width` channels.  `held` of them
/// are kept in registers; 0 stands for any number, read anew at each use.
template <typename T, int width, int held>
class RowShare {
 public:
  __device__ RowShare(const T* row, int channels, bool exists) : row_(row), end_(exists ? channels : 0) {
    if constexpr (held > 0) for_each([&](int i, int channel) { held_[i] = load<width>(row_ + channel); });
  }
  __device__ Floats<width> values(int i, int channel) const {
    if constexpr (held > 0) return held_[i];
    return load<width>(row_ + channel);
  }
  /// Calls body(i, first channel) for every pack of this lane.
  template <typename Body>
  __device__ void for_each(Body body) const {
    if constexpr (held > 0) {
#pragma unroll
      for (int i = 0; i < held; ++i)
        if (const int channel = channel_of(i); channel < end_) body(i, channel);
    } else {
      for (int channel = channel_of(0), i = 0; channel < end_; channel = channel_of(++i)) body(i, channel);
    }
  }

 private:
  __device__ static int channel_of(int i) {
    return (threadIdx.x + i * blockDim.x) * width;
  }

  const T* row_;
  int end_;
  Floats<width> held_[held > 0 ? held : 1] = {};
};

/// Σ over the lanes of a row.
__device__ __forceinline__ float row_sum(float value) {
  return warp_sum_of(blockDim.x, value);
}

// --- forward ----------------------------------------------------------------------------------------------

template <typename T, int width, int held>
__global__ void __launch_bounds__(kColumnThreads) normalise(LayerNormForward args) {
  const int channels = args.channels;
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  const bool exists = row < args.rows;
  const RowShare<T, width, held> x(static_cast<const T*>(args.x) + row * channels, channels, exists);

  float sum = 0.0f;
  x.for_each([&](int pack, int channel) {
    const auto values = x.values(pack, channel);
#pragma unroll
    for (int i = 0; i < width; ++i) sum += values[i];
  });
  const float about = row_sum(sum) / channels;  // off by the sum's rounding: the second pass sets it right
  float squares = 0.0f, rest = 0.0f;
  x.for_each([&](int pack, int channel) {
    const auto values = x.values(pack, channel);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float distance = values[i] - about;
      squares += distance * distance;
      rest += distance;
    }
  });
  squares = row_sum(squares);
  const float shift = row_sum(rest) / channels, mean = about + shift;
  const float rstd = 1.0f / sqrtf(max(squares / channels - shift * shift, 0.0f) + args.eps);

  T* y = static_cast<T*>(args.y) + row * channels;
  x.for_each([&](int pack, int channel) {
    auto values = x.values(pack, channel);
    const auto gamma = load_unaligned<width>(args.gamma + channel);
    const auto beta = load_unaligned<width>(args.beta + channel);
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] = (values[i] - mean) * rstd * gamma[i] + beta[i];
    store<width>(y + channel, values);
  });
  if (!exists || threadIdx.x > 0) return;
  args.mean[row] = mean;
  args.rstd[row] = rstd;
}

// --- backward ---------------------------------------------------------------------------------------------

/// dx of one row.
template <typename T, int width, int held>
__device__ void input_gradient(const LayerNormBackward& args, int64_t row, float mean, float rstd,
                               const RowShare<T, width, held>& x, const RowShare<T, width, held>& dy) {
  const int channels = args.channels;
  float sum = 0.0f, product = 0.0f;  // Σ g and Σ g · (x − mean)
  x.for_each([&](int pack, int channel) {
    const auto inputs = x.values(pack, channel), gradients = dy.values(pack, channel);
    const auto gamma = load_unaligned<width>(args.gamma + channel);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float g = gradients[i] * gamma[i];
      sum += g;
      product += g * (inputs[i] - mean);
    }
  });
  const float mean_g = row_sum(sum) / channels;
  const float slope = row_sum(product) * rstd * rstd / channels;

  T* dx = static_cast<T*>(args.dx) + row * channels;
  x.for_each([&](int pack, int channel) {
    const auto inputs = x.values(pack, channel), gradients = dy.values(pack, channel);
    const auto gamma = load_unaligned<width>(args.gamma + channel);
    Floats<width> result{};
    if (args.accumulate_dx) result = load<width>(dx + channel);
#pragma unroll
    for (int i = 0; i < width; ++i)
      result[i] += rstd * (gradients[i] * gamma[i] - mean_g - (inputs[i] - mean) * slope);
    store<width>(dx + channel, result);
  });
}

/// All gradients for the rows of part blockIdx.x.  sums [parts, 2, channels] receives the part's dgamma and
/// dbeta; it is null when nobody wants them, or when `held` is 0.
template <typename T, int width, int held>
__global__ void __launch_bounds__(kColumnThreads)
    gradients_of_part(LayerNormBackward args, float* sums, int64_t rows_per_part) {
  const int channels = args.channels;
  constexpr int kept = held > 0 ? held : 1;
  Floats<width> dgamma[kept] = {}, dbeta[kept] = {};
  const int64_t first = blockIdx.x * rows_per_part, end = min(args.rows, first + rows_per_part);
  // All threads take every turn: lanes of a warp that are out of rows still meet in its sums.
  for (int64_t begin = first; begin < end; begin += blockDim.y) {
    const int64_t row = begin + threadIdx.y;
    const bool exists = row < end;
    const float mean = exists ? args.mean[row] : 0.0f, rstd = exists ? args.rstd[row] : 0.0f;
    const RowShare<T, width, held> x(static_cast<const T*>(args.x) + row * channels, channels, exists);
    const RowShare<T, width, held> dy(static_cast<const T*>(args.dy) + row * channels, channels, exists);
    if (held > 0 && sums != nullptr)
      x.for_each([&](int pack, int channel) {
        const auto inputs = x.values(pack, channel), gradients = dy.values(pack, channel);
#pragma unroll
        for (int i = 0; i < width; ++i) {
          dgamma[pack][i] += gradients[i] * ((inputs[i] - mean) * rstd);
          dbeta[pack][i] += gradients[i];
        }
      });
    if (args.dx != nullptr) input_gradient(args, row, mean, rstd, x, dy);
  }
  if (held == 0 || sums == nullptr) return;
  float* part = sums + blockIdx.x * int64_t{2} * channels;
#pragma unroll
  for (int pack = 0; pack < kept; ++pack) {
    add_over_groups(dgamma[pack]);
    __syncthreads();
    add_over_groups(dbeta[pack]);
    __syncthreads();
    const int channel = (threadIdx.x + pack * blockDim.x) * width;
    if (threadIdx.y > 0 || channel >= channels) continue;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      part[channel + i] = dgamma[pack][i];
      part[channels + channel + i] = dbeta[pack][i];
    }
  }
}

/// dgamma and dbeta of part blockIdx.x for channels of any number.
template <typename T>
__global__ void __launch_bounds__(kColumnThreads)
    parameters_of_part(LayerNormBackward args, float* sums, int64_t rows_per_part) {
  const int64_t channel = my_column<1>(), channels = args.channels;
  const int64_t first = blockIdx.x * rows_per_part, end = min(args.rows, first + rows_per_part);
  Floats<2> total{};
  for (int64_t row = first + threadIdx.y; row < end && channel < channels; row += blockDim.y) {
    const int64_t index = row * channels + channel;
    const float dy = as_float(static_cast<const T*>(args.dy)[index]);
    total[0] += dy * ((as_float(static_cast<const T*>(args.x)[index]) - args.mean[row]) * args.rstd[row]);
    total[1] += dy;
  }
  add_over_groups(total);
  if (threadIdx.y > 0 || channel >= channels) return;
  float* part = sums + blockIdx.x * 2 * channels;
  part[channel] = total[0];
  part[channels + channel] = total[1];
}

/// dgamma and dbeta (+)= Σ over parts.
__global__ void __launch_bounds__(kPartColumns* kPartThreads)
    add_parts(LayerNormBackward args, const float* sums, int64_t parts) {
  const int64_t columns = 2 * int64_t{args.channels}, column = column_of_parts();
  const double total = sum_of_parts(column < columns ? parts : 0,
                                    [=](int64_t part) { return double{sums[part * columns + column]}; });
  if (threadIdx.y > 0 || column >= columns) return;
  float* target = column < args.channels ? args.dgamma + column : args.dbeta + (column - args.channels);
  *target = (args.accumulate_parameters ? *target : 0.0f) + static_cast<float>(total);
}

// --- launches ---------------------------------------------------------------------------------------------

template <int w, int h>
struct Layout {
  static constexpr int width = w, held = h;
};

/// Calls body(Layout, ColumnBlock) for the way in which rows of type T are shared.
template <typename T, typename Body>
void with_layout(int channels, std::initializer_list<const void*> pointers, Body body) {
  constexpr int width = kPackWidth<T>;
  const int packs = packable(channels, pointers) % width == 0 ? channels / width : 0;
  if (packs == 0 || packs > 128) return body(Layout<1, 0>{}, ColumnBlock(channels));
  if (packs > 64) return body(Layout<width, 4>{}, ColumnBlock(packs));
  if (packs > 32) return body(Layout<width, 2>{}, ColumnBlock(packs));
  return body(Layout<width, 1>{}, ColumnBlock(packs));
}

LaunchShape over_rows(std::string_view name, const ColumnBlock& block, int64_t blocks) {
  return {.name = name, .grid = {blocks}, .block = {block.lanes, block.groups}};
}

}  // namespace

void run(const LayerNormForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_layout<T>(args.channels, {args.x, args.y}, [&]<typename L>(L, const ColumnBlock& block) {
      launch(queue, over_rows(args.name, block, ceil_div(args.rows, block.groups)),
             normalise<T, L::width, L::held>, args);
    });
  });
}

void run(const LayerNormBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const auto pointers = {args.x, args.dy, static_cast<const void*>(args.dx)};
    with_layout<T>(args.channels, pointers, [&]<typename L>(L, const ColumnBlock& block) {
      const RowParts parts(args.rows, block);
      float* sums = args.dgamma ? queue.scratch(parts.count * 2 * args.channels) : nullptr;
      if (L::held > 0 || args.dx)
        launch(queue, over_rows(args.name, block, parts.count), gradients_of_part<T, L::width, L::held>, args,
               sums, parts.rows);
      if (!sums) return;
      if (L::held == 0)
        launch(queue, block.shape(args.name, parts.count), parameters_of_part<T>, args, sums, parts.rows);
      launch(queue, shape_for_parts(args.name, 2 * args.channels), add_parts, args, sums, parts.count);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
