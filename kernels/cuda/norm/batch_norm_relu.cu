// Batch normalisation over rows of channels, ReLU and dropout of whole channels, in three launches each way:
// sums over parts of the rows, their merge per channel (in double), and the pass that writes y or dx.  So x
// is read twice forward, x and dy twice backward, and nothing else of the map's size: what ReLU let pass is
// computed again from x, by the expression of the forward pass, and dropped channels are drawn again.  Bound
// by memory, at the bytes that the argument structs state.
//
// Every block stays within one image, so that its threads draw the factors of its channels once, together,
// and the sums over a part need no factors until they are complete.
// Threads load several rows before they look at the first; rows beyond the end are replaced by others, since
// branches around the loads would make each wait for the one before.
//
// Variance in one pass over x without cancellation: a part sums x − s and (x − s)² with s the part's own
// first row.  Since s is one of its n values, (mean − s)² is at most n variances, usually about one.  Parts
// are merged around the very first row in the same way, in double, and so is Σ(x − s)² − (Σ(x − s))²/n taken.
#include "kernels/batch_norm_relu.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSteps = 4;       // rows that a thread loads before it looks at the first
constexpr int kResident = 4;    // blocks on a multiprocessor at once: enough loads to saturate memory
constexpr int kTileLanes = 64;  // in the passes that write: 256 channels, so that whole rows go in order

/// with_pack_width() of at most four values: where a thread keeps three to six numbers for each of its
/// channels, the eight of a pack of bf16 would leave registers for half the threads only.
template <typename Body>
void with_narrow_packs(int64_t values, Body body) {
  with_pack_width<float>(values, body);
}

/// Rows [first, end) of an image.
struct Rows {
  unsigned image;
  int64_t first, end;
};

/// How the rows of every image are cut: into blocks that fill a GPU of 128 multiprocessors once, each thread
/// with 8 to 1,024 rows.  No part is empty.  Depends on sizes alone, and so do the sums' bits.
struct Parts {
  int64_t positions, rows = 1;  // of an image; of all its parts but the last
  int per_image = 0, count = 0;

  Parts(int64_t images, int64_t image_positions, const ColumnBlock& block) : positions(image_positions) {
    if (images * positions == 0) return;
    const int64_t most = std::max<int64_t>(1, kResident * 128 / (block.chunks * images));
    const int64_t wanted = std::min(most, ceil_div(positions, 8 * block.groups));
    rows = ceil_div(positions, std::max(wanted, ceil_div(positions, 1024 * block.groups)));
    per_image = static_cast<int>(ceil_div(positions, rows));
    count = static_cast<int>(images) * per_image;
  }
  __device__ Rows operator[](unsigned part) const {
    const unsigned image = part / per_image;
    const int64_t start = image * positions, first = start + (part - image * per_image) * rows;
    return {image, first, min(start + positions, first + rows)};
  }
};

/// How many tiles the passes that write cut a part into: blocks whose threads have `kSteps` rows each.
inline int64_t tiles_of(const Parts& parts, const ColumnBlock& block) {
  return ceil_div(parts.rows, block.groups * kSteps);
}

/// The tile of a block, perhaps empty.  All parts' last tiles come first, then those before: what the sums
/// have read last is read first, while the second cache still has it.
__device__ Rows my_tile(const Parts& parts) {
  const unsigned block = gridDim.x - 1 - blockIdx.x, tile = block / parts.count;
  Rows rows = parts[block - tile * parts.count];
  rows.first += int64_t{tile} * (blockDim.y * kSteps);
  return rows;
}

/// The columns of a thread.  One beyond the last does the work of the last, but keeps the results to itself.
template <int width>
struct Columns {
  int64_t first;
  bool mine;
  __device__ explicit Columns(int64_t channels)
      : first(min(my_column<width>(), channels - width)), mine(my_column<width>() < channels) {}
};

/// Packs of `kSteps` rows, as far apart as the block's groups; from row `end` on, row `otherwise` instead.
template <int width, typename T>
__device__ __forceinline__ void load_rows(const T* column, int64_t channels, int64_t row, int64_t end,
                                          int64_t otherwise, Pack<T, width> (&packs)[kSteps]) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t wanted = row + step * blockDim.y;
    packs[step] = load_pack<width>(column + (wanted < end ? wanted : otherwise) * channels);
  }
}

/// z of this thread's channels.  Both ways compute it alike, or else gradients would pass where values did
/// not.
template <int width>
struct Normalise {
  Floats<width> mean, scale, beta;

  __device__ Normalise(const float* gamma, const float* shift, const float* means, const Floats<width>& rstd,
                       int64_t column)
      : mean(load_unaligned<width>(means + column)),
        scale(load_unaligned<width>(gamma + column)),
        beta(load_unaligned<width>(shift + column)) {
#pragma unroll
    for (int i = 0; i < width; ++i) scale[i] *= rstd[i];
  }
  __device__ float operator()(int i, float x) const {
    return (x - mean[i]) * scale[i] + beta[i];
  }
};

/// Dropout's factors of the block's channels, drawn by its threads together: complete after a barrier.
template <int width>
__device__ const float* draw_factors(const ChannelDropout& dropout, unsigned image, int channels) {
  auto& factors = shared<float[kColumnThreads], struct Factors>();
  const int drawn = thread_rank(), block_columns = blockDim.x * width;
  const int64_t column = int64_t{blockIdx.y} * block_columns + drawn;
  if (drawn < block_columns)
    factors[drawn] =
        column < channels ? dropout.scale(static_cast<unsigned>(image * channels + column)) : 0.0f;
  return factors;
}
template <int width>
__device__ Floats<width> my_factors(const float* factors) {
  return load_unaligned<width>(factors + threadIdx.x * width);
}

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

struct TwoSums {
  double first = 0.0, second = 0.0;
};

/// Σ value(part) for the column of this thread, of a kernel of shape_for_parts(); complete in the threads of
/// the first row.  All threads of the block call it, those beyond the last column with no parts.
template <typename Value>
__device__ TwoSums sums_of_parts(int parts, Value value) {
  constexpr int kBatch = 8;  // parts of a thread that are loaded at once
  auto& partial = shared<TwoSums[kPartThreads][kPartColumns], struct PartialSums>();
  TwoSums total;
  for (int first = threadIdx.y; first < parts; first += kBatch * kPartThreads)
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int part = first + i * kPartThreads;
      const TwoSums values = value(min(part, parts - 1));
      total.first += part < parts ? values.first : 0.0;
      total.second += part < parts ? values.second : 0.0;
    }
  partial[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y > 0) return {};
#pragma unroll 8
  for (int i = 1; i < kPartThreads; ++i) {
    total.first += partial[i][threadIdx.x].first;
    total.second += partial[i][threadIdx.x].second;
  }
  return total;
}

// --- forward ----------------------------------------------------------------------------------------------

/// Per part and channel: Σ (x − s) and Σ (x − s)², s = x in the part's first row.
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads, kResident)
    part_statistics(const T* x, float* partials, int64_t channels, Parts parts) {
  const Columns<width> columns(channels);
  const Rows rows = parts[blockIdx.x];
  const T* column = x + columns.first;
  const auto shift = load<width>(column + rows.first * channels);
  Floats<2 * width> sums{};
  for (int64_t row = rows.first + threadIdx.y; row < rows.end; row += kSteps * blockDim.y) {
    Pack<T, width> packs[kSteps];
    load_rows<width>(column, channels, row, rows.end, rows.first, packs);  // the first row adds nothing
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float difference = value_of(packs[step], i) - shift[i];
        sums[i] += difference;
        sums[width + i] += difference * difference;
      }
  }
  add_over_groups(sums);
  if (threadIdx.y == 0 && columns.mine) store_part<width>(sums, partials, columns.first, channels);
}

/// Statistics of all rows from those of the parts; moves the running statistics.
template <typename T>
__global__ void __launch_bounds__(kPartColumns* kPartThreads, 1)
    merge_statistics(BatchNormReluForward args, const float* partials, Parts parts) {
  const auto* x = static_cast<const T*>(args.x);
  const int64_t channel = column_of_parts(), channels = args.channels;
  const double origin = channel < channels ? as_float(x[channel]) : 0.0f;
  // With d = s − origin: Σ (x − origin) = Σ (x − s) + n d, and
  // Σ (x − origin)² = Σ (x − s)² + d (2 Σ (x − s) + n d).
  const TwoSums sums = sums_of_parts(channel < channels ? parts.count : 0, [&](int part) -> TwoSums {
    const Rows rows = parts[part];
    const double distance = as_float(x[rows.first * channels + channel]) - origin;
    const double all = distance * static_cast<double>(rows.end - rows.first);
    const double sum = partials[2 * part * channels + channel];
    const double squares = partials[(2 * part + 1) * channels + channel];
    return {sum + all, squares + distance * (2.0 * sum + all)};
  });
  if (threadIdx.y > 0 || channel >= channels) return;
  const double rows = static_cast<double>(args.images * args.positions);
  const double mean = origin + sums.first / rows, squares = sums.second - sums.first * sums.first / rows;
  const double momentum = args.momentum, unbiased = squares / max(rows - 1.0, 1.0);
  args.mean[channel] = static_cast<float>(mean);
  args.rstd[channel] = static_cast<float>(1.0 / sqrt(max(squares, 0.0) / rows + args.eps));
  args.running_mean[channel] =
      static_cast<float>((1.0 - momentum) * args.running_mean[channel] + momentum * mean);
  args.running_var[channel] =
      static_cast<float>((1.0 - momentum) * args.running_var[channel] + momentum * unbiased);
}

/// This thread's channels with the statistics of the batch or, in evaluation, the running ones.
template <int width>
__device__ Normalise<width> normalise_of(const BatchNormReluForward& args, int64_t column) {
  auto rstd = load_unaligned<width>((args.training ? args.rstd : args.running_var) + column);
  if (!args.training)
#pragma unroll
    for (int i = 0; i < width; ++i) rstd[i] = 1.0f / sqrtf(rstd[i] + args.eps);
  return {args.gamma, args.beta, args.training ? args.mean : args.running_mean, rstd, column};
}

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads, kResident) output(BatchNormReluForward args, Parts parts) {
  const int64_t channels = args.channels;
  const Columns<width> columns(channels);
  const Rows rows = my_tile(parts);
  const int64_t row = rows.first + threadIdx.y, end = rows.end;
  if (rows.first >= end) return;
  Pack<T, width> packs[kSteps];
  load_rows<width>(static_cast<const T*>(args.x) + columns.first, channels, row, end, end - 1, packs);
  const float* drawn = draw_factors<width>(args.dropout, rows.image, args.channels);
  const auto normalise = normalise_of<width>(args, columns.first);
  __syncthreads();
  if (!columns.mine) return;
  const auto factors = my_factors<width>(drawn);
  T* y = static_cast<T*>(args.y) + columns.first;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    Floats<width> values;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float z = normalise(i, value_of(packs[step], i));
      values[i] = factors[i] * (z < 0.0f ? 0.0f : z);  // NaN passes through
    }
    if (row + step * blockDim.y < end) store<width>(y + (row + step * blockDim.y) * channels, values);
  }
}

// --- backward ---------------------------------------------------------------------------------------------

template <int width>
__device__ Normalise<width> normalise_of(const BatchNormReluBackward& args, int64_t column) {
  return {args.gamma, args.beta, args.mean, load_unaligned<width>(args.rstd + column), column};
}

/// Per part and channel: Σ dz and Σ dz · (x − mean).
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads, kResident)
    part_products(BatchNormReluBackward args, float* partials, Parts parts) {
  const int64_t channels = args.channels;
  const Columns<width> columns(channels);
  const auto *x = static_cast<const T*>(args.x) + columns.first,
             *dy = static_cast<const T*>(args.dy) + columns.first;
  const Rows rows = parts[blockIdx.x];
  const float* drawn = draw_factors<width>(args.dropout, rows.image, args.channels);
  const auto normalise = normalise_of<width>(args, columns.first);
  Floats<2 * width> sums{};
  for (int64_t row = rows.first + threadIdx.y; row < rows.end; row += kSteps * blockDim.y) {
    Pack<T, width> values[kSteps], gradients[kSteps];
    load_rows<width>(x, channels, row, rows.end, rows.first, values);
    load_rows<width>(dy, channels, row, rows.end, rows.first, gradients);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const bool counts = row + step * blockDim.y < rows.end;
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float value = value_of(values[step], i);
        const float passed = counts && normalise(i, value) > 0.0f ? value_of(gradients[step], i) : 0.0f;
        sums[i] += passed;
        sums[width + i] += passed * (value - normalise.mean[i]);
      }
    }
  }
  __syncthreads();
  const auto factors = my_factors<width>(drawn);
#pragma unroll
  for (int i = 0; i < 2 * width; ++i) sums[i] *= factors[i % width];
  add_over_groups(sums);
  if (threadIdx.y == 0 && columns.mine) store_part<width>(sums, partials, columns.first, channels);
}

/// What dx needs per channel: dx = scale · (dz − shift − (x − mean) · slope).
struct Slopes {
  float *shift, *slope;
};

/// Parameter gradients and slopes from the sums of the parts.
__global__ void __launch_bounds__(kPartColumns* kPartThreads, 1)
    merge_products(BatchNormReluBackward args, const float* partials, int part_count, Slopes slopes) {
  const int64_t channel = column_of_parts(), channels = args.channels;
  const auto [sum, product] = sums_of_parts(channel < channels ? part_count : 0, [&](int part) -> TwoSums {
    return {partials[2 * part * channels + channel], partials[(2 * part + 1) * channels + channel]};
  });
  if (threadIdx.y > 0 || channel >= channels) return;
  const double rstd = args.rstd[channel], rows = static_cast<double>(args.images * args.positions);
  slopes.shift[channel] = static_cast<float>(sum / rows);
  slopes.slope[channel] = static_cast<float>(product * rstd * rstd / rows);
  if (args.dgamma == nullptr) return;
  const bool add = args.accumulate_parameters;
  args.dgamma[channel] = (add ? args.dgamma[channel] : 0.0f) + static_cast<float>(product * rstd);
  args.dbeta[channel] = (add ? args.dbeta[channel] : 0.0f) + static_cast<float>(sum);
}

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads, kResident)
    input_gradient(BatchNormReluBackward args, Slopes slopes, Parts parts) {
  const int64_t channels = args.channels;
  const Columns<width> columns(channels);
  const Rows rows = my_tile(parts);
  const int64_t row = rows.first + threadIdx.y, end = rows.end;
  if (rows.first >= end) return;
  Pack<T, width> values[kSteps], gradients[kSteps];
  load_rows<width>(static_cast<const T*>(args.x) + columns.first, channels, row, end, end - 1, values);
  load_rows<width>(static_cast<const T*>(args.dy) + columns.first, channels, row, end, end - 1, gradients);
  const float* drawn = draw_factors<width>(args.dropout, rows.image, args.channels);
  const auto normalise = normalise_of<width>(args, columns.first);
  const auto shift = load_unaligned<width>(slopes.shift + columns.first);
  const auto slope = load_unaligned<width>(slopes.slope + columns.first);
  __syncthreads();
  if (!columns.mine) return;
  const auto factors = my_factors<width>(drawn);
  T* dx = static_cast<T*>(args.dx) + columns.first;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    if (row + step * blockDim.y >= end) return;
    T* to = dx + (row + step * blockDim.y) * channels;
    Floats<width> result;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float value = value_of(values[step], i);
      const float dz = normalise(i, value) > 0.0f ? factors[i] * value_of(gradients[step], i) : 0.0f;
      result[i] = normalise.scale[i] * (dz - shift[i] - (value - normalise.mean[i]) * slope[i]);
    }
    store<width>(to, result);
  }
}

template <typename T>
void batch_statistics(const BatchNormReluForward& args, Queue& queue) {
  const int64_t channels = args.channels;
  with_pack_width<T>(packable(channels, {args.x}), [&](auto width) {
    const ColumnBlock block(channels / width, 16);  // half the parts of full rows: they are to be merged
    const Parts parts(args.images, args.positions, block);
    const Scratch scratch = queue.scratch(parts.count * 2 * channels);
    float* const partials = scratch.data();
    launch(queue, block.shape(args.name, parts.count), part_statistics<T, width>,
           static_cast<const T*>(args.x), partials, channels, parts);
    launch(queue, shape_for_parts(args.name, channels), merge_statistics<T>, args, partials, parts);
  });
}

}  // namespace

void run(const BatchNormReluForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    if (args.training) batch_statistics<T>(args, queue);
    with_narrow_packs(packable(args.channels, {args.x, args.y}), [&](auto width) {
      const Parts parts(args.images, args.positions, ColumnBlock(args.channels / width));
      const ColumnBlock tile(args.channels / width, kTileLanes);
      launch(queue, tile.shape(args.name, parts.count * tiles_of(parts, tile)), output<T, width>, args,
             parts);
    });
  });
}

void run(const BatchNormReluBackward& args, Queue& queue) {
  const int64_t channels = args.channels;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_narrow_packs(packable(channels, {args.x, args.dy, args.dx}), [&](auto width) {
      const ColumnBlock block(channels / width);
      const Parts parts(args.images, args.positions, block);
      const Scratch scratch = queue.scratch((2 + 2 * parts.count) * channels);
      float* const shift = scratch.data();
      float* partials = shift + 2 * channels;
      const Slopes slopes{shift, shift + channels};
      launch(queue, block.shape(args.name, parts.count), part_products<T, width>, args, partials, parts);
      launch(queue, shape_for_parts(args.name, channels), merge_products, args, partials, parts.count,
             slopes);
      if (args.dx == nullptr) return;
      const ColumnBlock tile(channels / width, kTileLanes);
      launch(queue, tile.shape(args.name, parts.count * tiles_of(parts, tile)), input_gradient<T, width>,
             args, slopes, parts);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
