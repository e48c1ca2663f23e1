// From logits to scores: the class of every pixel, and how classes were confused.
// Arg-max works on one row of pixels at a time: the row of logits is blended and turned so that a class lies
// contiguous, then class by class all pixels of the row compare at once, one lane a pixel.  Bound by
// arithmetic: 8 operations and two gathers from the first cache a pixel and class.
// Confusion counts are integers, whose sums do not depend on their order.
#include "kernels/segmentation.h"

#include <limits>
#include <mutex>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/resize.h"

namespace scrawl::cpu {
namespace {

/// planes[k][x] = logits of class k in the row between low and high.
void blend_planes(const float* low, const float* high, float fraction, int width, int classes,
                  float* planes) {
  for (int x = 0; x < width; ++x)
    for (int k = 0; k < classes; ++k) {
      const int i = x * classes + k;
      planes[k * width + x] = low[i] + fraction * (high[i] - low[i]);
    }
}

/// Interpolation along a row, an array a field, so that lanes load it contiguously.
struct Columns {
  std::vector<int> low, high;
  std::vector<float> fraction;
  explicit Columns(const ResizeAxis& axis) {
    for (const Interpolation& at : interpolations(axis)) {
      low.push_back(at.low);
      high.push_back(at.high);
      fraction.push_back(at.fraction);
    }
  }
};

/// Raises best and winner [width] of a row where the class is higher.
void compare_class(const float* plane, const int* low, const int* high, const float* fraction, int width,
                   int category, float* best, int* winner) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const float left = plane[low[x]];
    const float value = left + fraction[x] * (plane[high[x]] - left);
    const bool higher = value > best[x];
    best[x] = higher ? value : best[x];
    winner[x] = higher ? category : winner[x];
  }
}

}  // namespace

void run(const UpsampledArgMax& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* logits = static_cast<const float*>(args.logits);
  const UpsampleShape& shape = args.shape;
  const auto rows = interpolations(shape.rows());
  const Columns columns(shape.columns());
  const int classes = shape.channels, width = shape.out_width;
  const int64_t in_row = int64_t{shape.in_width} * classes;
  const int64_t stride = (in_row + 2 * int64_t{width} + 15) / 16 * 16;
  float* scratch = queue.scratch(stride * queue.threads());

  const int64_t grain = grain_for(int64_t{width} * classes);
  parallel_chunks(queue, shape.images * shape.out_height, grain, [&](int64_t begin, int64_t end) {
    float* planes = scratch + omp_get_thread_num() * stride;
    float* best = planes + in_row;
    int* winner = reinterpret_cast<int*>(best + width);
    for (int64_t row = begin; row < end; ++row) {
      const float* image = logits + row / shape.out_height * shape.in_height * in_row;
      const Interpolation& at = rows[row % shape.out_height];
      blend_planes(image + at.low * in_row, image + at.high * in_row, at.fraction, shape.in_width, classes,
                   planes);
      std::fill_n(best, width, -std::numeric_limits<float>::infinity());
      std::fill_n(winner, width, 0);
      for (int k = 0; k < classes; ++k)
        compare_class(planes + int64_t{k} * shape.in_width, columns.low.data(), columns.high.data(),
                      columns.fraction.data(), width, k, best, winner);
      std::copy_n(winner, width, args.classes + row * width);
    }
  });
}

void run(const ConfusionCount& args, Queue& queue) {
  const int classes = args.classes;
  std::mutex adding;
  parallel_chunks(queue, args.pixels, grain_for(1), [&](int64_t begin, int64_t end) {
    std::vector<int32_t> table(classes * classes);
    for (int64_t i = begin; i < end; ++i)
      if (args.truth[i] != 255) ++table[args.truth[i] * classes + args.prediction[i]];
    const std::lock_guard lock(adding);
    for (int i = 0; i < classes * classes; ++i) args.counts[i] += table[i];
  });
}

}  // namespace scrawl::cpu
