// Cross-entropy over labelled pixels of upsampled logits that are never written.  With scribbles some 3 % of
// the pixels are labelled, in clusters, so a block first lists the labelled ones of its 2,048 pixels, in
// order; then eight lanes take one pixel of the list at a time, blend the logits of the four cells around it
// and hold all classes in registers.
// Forward: a partial sum and count a block, which one block adds in order.  Backward: the same lists give
// log Σ exp of every labelled pixel (4 bytes a pixel of scratch, written where labelled); then eight lanes
// per cell walk the pixels that read the cell, row by row, and gather weight · (softmax − one-hot): no other
// thread adds to the cell, and with log Σ exp known no lane waits for another.
// Cost: reading the labels (backward: about four times, from cache), about 25 instructions of a warp a
// labelled pixel forward, 100 backward, since a pixel is blended again for each of its four cells.
// Limits: 256 classes, 2³¹ pixels and cells.
#include "kernels/partial_cross_entropy.h"

#include "kernels/cuda/device/class_row.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kPixels = 2048;  // of a block
constexpr int kVotes = kPixels / kThreads;

template <typename T>
struct Maps {
  const T* logits;
  const uint8_t* label;
  ResizeAxis rows, columns;
  int classes, cells, pixels;  // cells, pixels: of the whole batch
  Divisor out_height, out_width, in_height, in_width;

  Maps(const PartialCrossEntropyShape& shape, const void* from, const uint8_t* labels)
      : logits(static_cast<const T*>(from)),
        label(labels),
        rows(shape.rows()),
        columns(shape.columns()),
        classes(shape.classes),
        cells(static_cast<int>(shape.images * shape.in_height * shape.in_width)),
        pixels(static_cast<int>(shape.pixels())),
        out_height(shape.out_height),
        out_width(shape.out_width),
        in_height(shape.in_height),
        in_width(shape.in_width) {}

  __device__ const T* cell(int image, int row, int column) const {
    return logits + ((int64_t{image} * rows.in + row) * columns.in + column) * classes;
  }
  /// The logits of one pixel.
  template <typename Row>
  __device__ Row sample(int image, const Interpolation& y, const Interpolation& x) const {
    const T *a = cell(image, y.low, x.low), *b = cell(image, y.low, x.high);
    const T *c = cell(image, y.high, x.low), *d = cell(image, y.high, x.high);
    Row row;
#pragma unroll
    for (int i = 0; i < Row::slots; ++i) {
      const int k = Row::class_of(i);
      row.values[i] = Row::kNone;
      if (k >= classes) continue;
      const float left = as_float(a[k]), low = as_float(c[k]);
      const float top = left + x.fraction * (as_float(b[k]) - left);
      const float bottom = low + x.fraction * (as_float(d[k]) - low);
      row.values[i] = top + y.fraction * (bottom - top);
    }
    return row;
  }
};

/// Lists the labelled ones of the block's pixels, in order; returns their number.
template <typename T>
__device__ int list_labelled(const Maps<T>& maps, int first, uint16_t* list) {
  auto& counts = shared<int[kWarps], struct Counts>();
  unsigned votes[kVotes];
  int count = 0;
#pragma unroll
  for (int i = 0; i < kVotes; ++i) {
    const int pixel = first + (warp_index() * kVotes + i) * kWarpSize + lane_index();
    votes[i] = __ballot_sync(kFullWarp, pixel < maps.pixels && maps.label[pixel] != kUnlabelled);
    count += __popc(votes[i]);
  }
  if (lane_index() == 0) counts[warp_index()] = count;
  __syncthreads();
  int offset = 0, total = 0;
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < warp_index()) offset += counts[warp];
    total += counts[warp];
  }
  const unsigned below = (1u << lane_index()) - 1;
#pragma unroll
  for (int i = 0; i < kVotes; ++i) {
    if (votes[i] >> lane_index() & 1)
      list[offset + __popc(votes[i] & below)] =
          static_cast<uint16_t>((warp_index() * kVotes + i) * kWarpSize + lane_index());
    offset += __popc(votes[i]);
  }
  __syncthreads();
  return total;
}

/// Visits the labelled pixels: partial sums of the loss and counts, one of each a block, or log Σ exp of each
/// pixel, where those are not null.
template <typename T, typename Row>
__global__ void __launch_bounds__(kThreads)
    visit_pixels(Maps<T> maps, float* sums, int32_t* counts, float* log_sums) {
  auto& list = shared<uint16_t[kPixels], struct List>();
  const int first = blockIdx.x * kPixels;
  const int count = list_labelled(maps, first, list);
  float loss = 0.0f;
  for (int i = threadIdx.x / Row::lanes; i < count; i += kThreads / Row::lanes) {
    const int pixel = first + list[i];
    const auto [line, column] = maps.out_width.divide(pixel);
    const auto [image, row] = maps.out_height.divide(line);
    const Row logits = maps.template sample<Row>(image, maps.rows.at(row), maps.columns.at(column));
    const float log_sum = logits.log_sum_exp(), truth = logits.of_class(maps.label[pixel]);
    if (Row::lane() != 0) continue;
    loss += log_sum - truth;
    if (log_sums) log_sums[pixel] = log_sum;
  }
  if (!sums) return;
  loss = block_sum(loss);
  if (threadIdx.x != 0) return;
  sums[blockIdx.x] = loss;
  counts[blockIdx.x] = count;
}

__global__ void __launch_bounds__(kThreads)
    finish(const float* sums, const int32_t* counts, int blocks, float* loss, int32_t* labelled) {
  float sum = 0.0f;
  int count = 0;
  for (int i = threadIdx.x; i < blocks; i += kThreads) {
    sum += sums[i];
    count += counts[i];
  }
  sum = block_sum(sum);
  count = block_sum(count);
  if (threadIdx.x != 0) return;
  labelled[0] = count;
  loss[0] = count > 0 ? sum / static_cast<float>(count) : 0.0f;
}

/// The pixels [begin, end) along an axis that read a cell.
struct Readers {
  int begin, end;
  __device__ Readers(const ResizeAxis& axis, int cell) {
    const float scale = axis.scale();
    // An estimate, since divisions round, then steps to the truth.
    begin =
        scale > 0.0f ? min(axis.out, static_cast<int>(max(0.0f, static_cast<float>(cell - 1) / scale))) : 0;
    while (begin > 0 && axis.at(begin - 1).high >= cell) --begin;
    while (begin < axis.out && axis.at(begin).high < cell) ++begin;
    end = scale > 0.0f ? min(axis.out, static_cast<int>(static_cast<float>(cell + 1) / scale)) : axis.out;
    end = max(begin, end);
    while (end < axis.out && axis.at(end).low <= cell) ++end;
    while (end > begin && axis.at(end - 1).low > cell) --end;
  }
};

__device__ float weight_of(const Interpolation& at, int cell) {
  return (at.low == cell ? 1.0f - at.fraction : 0.0f) + (at.high == cell ? at.fraction : 0.0f);
}

template <typename T, typename Row>
__global__ void __launch_bounds__(kThreads)
    gather_gradient(Maps<T> maps, const float* log_sums, const int32_t* labelled, const float* dloss,
                    T* dlogits, bool accumulate) {
  const int64_t index = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / Row::lanes;
  if (index >= maps.cells) return;
  const auto [line, cell_column] = maps.in_width.divide(static_cast<int>(index));
  const auto [image, cell_row] = maps.in_height.divide(line);
  const Readers rows(maps.rows, cell_row), columns(maps.columns, cell_column);
  float sum[Row::slots] = {};
  for (int row = rows.begin; row < rows.end; ++row) {
    const Interpolation y = maps.rows.at(row);
    const float row_weight = weight_of(y, cell_row);
    const int first = (image * maps.rows.out + row) * maps.columns.out;
    for (int begin = columns.begin; begin < columns.end; begin += Row::lanes) {
      const int mine = begin + Row::lane();
      const int label = mine < columns.end ? maps.label[first + mine] : kUnlabelled;
      unsigned votes = __ballot_sync(Row::mask(), label != kUnlabelled) >> (lane_index() - Row::lane());
      for (; votes != 0; votes &= votes - 1) {
        const int next = __ffs(static_cast<int>(votes)) - 1;
        const int truth = __shfl_sync(Row::mask(), label, next, Row::lanes);
        const Interpolation x = maps.columns.at(begin + next);
        const float weight = row_weight * weight_of(x, cell_column);
        const float log_sum = log_sums[first + begin + next];
        const Row logits = maps.template sample<Row>(image, y, x);
#pragma unroll
        for (int i = 0; i < Row::slots; ++i)
          sum[i] +=
              weight * (fast_exp(logits.values[i] - log_sum) - (Row::class_of(i) == truth ? 1.0f : 0.0f));
      }
    }
  }
  const float scale = labelled[0] > 0 ? dloss[0] / static_cast<float>(labelled[0]) : 0.0f;
  T* to = dlogits + index * maps.classes;
#pragma unroll
  for (int i = 0; i < Row::slots; ++i) {
    const int k = Row::class_of(i);
    if (k >= maps.classes) break;
    to[k] = as_storage<T>((accumulate ? as_float(to[k]) : 0.0f) + scale * sum[i]);
  }
}

int64_t blocks_of(const PartialCrossEntropyShape& shape, std::string_view kernel) {
  constexpr int64_t kMost = (int64_t{1} << 31) - kPixels;
  if (shape.pixels() >= kMost || shape.images * shape.in_height * shape.in_width >= kMost)
    throw std::invalid_argument(std::string(kernel) + ": takes fewer than 2^31 pixels, got " +
                                std::to_string(shape.pixels()));
  return ceil_div(shape.pixels(), kPixels);
}

}  // namespace

void run(const PartialCrossEntropyForward& args, Queue& queue) {
  const int64_t blocks = blocks_of(args.shape, args.name);
  float* sums = queue.scratch(2 * blocks + 1);
  auto* counts = reinterpret_cast<int32_t*>(sums + blocks);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_class_row(args.shape.classes, args.name, [&]<typename Row>(Row) {
      launch(queue, {.name = args.name, .grid = {blocks}, .block = {kThreads}}, visit_pixels<T, Row>,
             Maps<T>(args.shape, args.logits, args.label), sums, counts, nullptr);
    });
  });
  launch(queue, LaunchShape{.name = args.name, .grid = {1}, .block = {kThreads}}, finish, sums, counts,
         static_cast<int>(blocks), args.loss, args.labelled);
}

void run(const PartialCrossEntropyBackward& args, Queue& queue) {
  const int64_t blocks = blocks_of(args.shape, args.name);
  float* log_sums = queue.scratch(args.shape.pixels() + 1);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_class_row(args.shape.classes, args.name, [&]<typename Row>(Row) {
      const Maps<T> maps(args.shape, args.logits, args.label);
      launch(queue, {.name = args.name, .grid = {blocks}, .block = {kThreads}}, visit_pixels<T, Row>, maps,
             nullptr, nullptr, log_sums);
      launch(queue,
             {.name = args.name,
              .grid = {ceil_div(int64_t{maps.cells} * Row::lanes, kThreads)},
              .block = {kThreads}},
             gather_gradient<T, Row>, maps, log_sums, args.labelled, args.dloss,
             static_cast<T*>(args.dlogits), args.accumulate);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
