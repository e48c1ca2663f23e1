// From logits to scores: the class of every pixel, which classes show up, and how they were confused.
// Arg-max: a thread takes a pixel and blends, class by class, the logits of the four cells around it, in the
// order of the CPU's kernel; neighbouring pixels share cells, so nearly all reads hit the first cache.  Bound
// by those reads, four a pixel and class.
// Confusion: a thread takes 16 neighbouring pixels and adds a run of equal (truth, prediction) at once, since
// maps are mostly flat; the table of a block lies in shared memory and goes to the total as 64-bit integers,
// whose sums do not depend on their order.  Bound by reading 2 bytes a pixel.
// Tags: a block takes an image, a thread 16 neighbouring pixels at a time, and notes a class in shared memory
// where it is another than that of the pixel before.  Bound by the latency of seven loads at 320².
// Limits: 256 classes, 2³¹ pixels an arg-max; beyond 110 classes the table does not fit into a block's shared
// memory, and runs go to the total directly.
#include "kernels/segmentation.h"

#include <limits>

#include "kernels/cuda/device/atomics.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/labels.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kTableBytes = 48 * 1024;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    arg_max(const T* logits, ResizeAxis rows, ResizeAxis columns, int classes, int64_t pixels,
            Divisor out_height, Divisor out_width, uint8_t* winners) {
  const int64_t pixel = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const auto [line, column] = out_width.divide(static_cast<int>(pixel));
  const auto [image, row] = out_height.divide(line);
  const Interpolation y = rows.at(row), x = columns.at(column);
  const auto cell = [&](int cell_row, int cell_column) {
    return logits + ((int64_t{image} * rows.in + cell_row) * columns.in + cell_column) * classes;
  };
  const T *a = cell(y.low, x.low), *b = cell(y.low, x.high);
  const T *c = cell(y.high, x.low), *d = cell(y.high, x.high);
  float best = -std::numeric_limits<float>::infinity();
  int winner = 0;
#pragma unroll 4
  for (int k = 0; k < classes; ++k) {
    const float left = as_float(a[k]), low = as_float(c[k]);
    const float top = left + x.fraction * (as_float(b[k]) - left);
    const float bottom = low + x.fraction * (as_float(d[k]) - low);
    const float value = top + y.fraction * (bottom - top);
    if (value > best) winner = k;
    best = value > best ? value : best;
  }
  winners[pixel] = static_cast<uint8_t>(winner);
}

__device__ void add_count(int64_t* counts, int cell, int count) {
  atomicAdd(reinterpret_cast<unsigned long long*>(counts + cell), static_cast<unsigned long long>(count));
}

/// The block's table in shared memory, or the total itself when the table does not fit.
class Table {
 public:
  __device__ Table(int64_t* total, int cells, bool fits)
      : total_(total), mine_(fits ? dynamic_shared<int>() : nullptr), cells_(cells) {
    for (int i = threadIdx.x; mine_ && i < cells; i += kThreads) mine_[i] = 0;
    __syncthreads();
  }
  __device__ void add(int cell, int count) {
    if (mine_)
      atomicAdd(mine_ + cell, count);
    else
      add_count(total_, cell, count);
  }
  __device__ void finish() {
    __syncthreads();
    for (int i = threadIdx.x; mine_ && i < cells_; i += kThreads)
      if (mine_[i] != 0) add_count(total_, i, mine_[i]);
  }

 private:
  int64_t* total_;
  int* mine_;
  int cells_;
};

constexpr int kPacks = 4;  // that a thread counts, so that fewer tables are added to the total

template <int width>
__global__ void __launch_bounds__(kThreads)
    confusion(const uint8_t* prediction, const uint8_t* truth, int64_t pixels, int classes, bool fits,
              int64_t* counts) {
  Table table(counts, classes * classes, fits);
  int cell = 0, run = 0;
  for (int pack = 0; pack < kPacks; ++pack) {
    const int64_t first = ((int64_t{blockIdx.x} * kPacks + pack) * kThreads + threadIdx.x) * width;
    Pack<uint8_t, width> guesses, truths;
    if (first + width <= pixels) {
      guesses = load_pack<width>(prediction + first);
      truths = load_pack<width>(truth + first);
    } else {
      for (int i = 0; i < width; ++i) {
        guesses[i] = first + i < pixels ? prediction[first + i] : 0;
        truths[i] = first + i < pixels ? truth[first + i] : kUnlabelled;
      }
    }
#pragma unroll
    for (int i = 0; i < width; ++i) {
      if (truths[i] == kUnlabelled) continue;
      const int next = truths[i] * classes + guesses[i];
      if (next != cell && run > 0) {
        table.add(cell, run);
        run = 0;
      }
      cell = next;
      ++run;
    }
  }
  if (run > 0) table.add(cell, run);
  table.finish();
}

constexpr int kTagThreads = 1024;

template <int width>
__global__ void __launch_bounds__(kTagThreads)
    predicted_tags(const uint8_t* prediction, int64_t pixels, int classes, uint8_t* tags) {
  auto& shown = shared<int[256], struct Shown>();
  for (int k = threadIdx.x; k < 256; k += kTagThreads) shown[k] = k == 0;
  __syncthreads();
  const uint8_t* image = prediction + blockIdx.x * pixels;
  int last = 0;
  for (int64_t first = threadIdx.x * width; first < pixels; first += kTagThreads * width) {
    const auto pack = load_pack<width>(image + first);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      if (pack[i] == last) continue;
      last = pack[i];
      atomicOr(shown + last, 1);
    }
  }
  __syncthreads();
  for (int k = threadIdx.x; k < classes; k += kTagThreads)
    tags[int64_t{blockIdx.x} * classes + k] = static_cast<uint8_t>(shown[k]);
}

}  // namespace

void run(const UpsampledArgMax& args, Queue& queue) {
  const UpsampleShape& shape = args.shape;
  const int64_t pixels = shape.images * shape.out_height * shape.out_width;
  if (shape.channels > 256 || pixels >= int64_t{1} << 31)
    throw std::invalid_argument(std::string(args.name) + ": takes 256 classes and 2^31 pixels, got " +
                                std::to_string(shape.channels) + " and " + std::to_string(pixels));
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    launch(queue, {.name = args.name, .grid = {ceil_div(pixels, kThreads)}, .block = {kThreads}}, arg_max<T>,
           static_cast<const T*>(args.logits), shape.rows(), shape.columns(), shape.channels, pixels,
           Divisor(shape.out_height), Divisor(shape.out_width), args.classes);
  });
}

void run(const ConfusionCount& args, Queue& queue) {
  const int64_t bytes = int64_t{args.classes} * args.classes * static_cast<int64_t>(sizeof(int));
  const bool fits = bytes <= kTableBytes;
  const auto start = [&](auto width, auto kernel) {
    launch(queue,
           {.name = args.name,
            .grid = {ceil_div(args.pixels, int64_t{kThreads} * kPacks * width)},
            .block = {kThreads},
            .shared_bytes = fits ? bytes : 0},
           kernel, args.prediction, args.truth, args.pixels, args.classes, fits, args.counts);
  };
  const auto addresses =
      reinterpret_cast<uintptr_t>(args.prediction) | reinterpret_cast<uintptr_t>(args.truth);
  if (addresses % 16 == 0)
    start(16, confusion<16>);
  else
    start(1, confusion<1>);
}

void run(const PredictedTags& args, Queue& queue) {
  const auto start = [&](auto kernel) {
    launch(queue, {.name = args.name, .grid = {args.images}, .block = {kTagThreads}}, kernel, args.prediction,
           args.pixels, args.classes, args.tags);
  };
  if (args.pixels % 16 == 0 && packable(16, {args.prediction}) == 16)
    start(predicted_tags<16>);
  else
    start(predicted_tags<1>);
}

}  // namespace scrawl::SCRAWL_GPU
