// From logits to scores: the class of every pixel, which classes show up, and how they were confused.
// Arg-max widens a row of logits to the width of the output, a plane for each class, once for all rows of
// pixels that it serves; then class by class all pixels of a row blend two planes and compare, one lane a
// pixel.  Bound by arithmetic in the first two caches: 8 operations a pixel and class.
// Confusion counts are integers, whose sums do not depend on their order.
#include "kernels/segmentation.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/resize.h"

namespace scrawl::cpu {
namespace {

constexpr int64_t kRows = 16;  // of pixels, in a chunk

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

/// planes[k][x] = logits of class k in one input row, interpolated along it.
void widen(const float* logits, const Columns& columns, int width, int classes, float* planes) {
  const int *low = columns.low.data(), *high = columns.high.data();
  const float* fraction = columns.fraction.data();
  for (int k = 0; k < classes; ++k, ++logits, planes += width) {
#pragma omp simd
    for (int x = 0; x < width; ++x) {
      const float left = logits[low[x] * classes];
      planes[x] = left + fraction[x] * (logits[high[x] * classes] - left);
    }
  }
}

/// Raises best and winner [width] of a row of pixels where the class is higher.
void compare_class(const float* top, const float* bottom, float fraction, int width, int category,
                   float* best, int* winner) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const float value = top[x] + fraction * (bottom[x] - top[x]);
    const bool higher = value > best[x];
    best[x] = higher ? value : best[x];
    winner[x] = higher ? category : winner[x];
  }
}

/// One thread's rows: two widened input rows, even and odd ones apart, and the best of each pixel so far.
class RowWorker {
 public:
  RowWorker(const UpsampledArgMax& args, const Columns& columns, float* scratch)
      : classes_(args.shape.channels),
        width_(args.shape.out_width),
        in_row_(int64_t{args.shape.in_width} * classes_),
        logits_(static_cast<const float*>(args.logits)),
        columns_(columns),
        planes_{scratch, scratch + int64_t{classes_} * width_},
        best_(planes_[1] + int64_t{classes_} * width_),
        winner_(reinterpret_cast<int*>(best_ + width_)) {}

  static int64_t scratch_elements(const UpsampleShape& shape) {
    return (2 * int64_t{shape.channels} + 2) * shape.out_width;
  }

  /// Classes of the pixels between input rows `low` and `high`, counted over all images.
  void run(int64_t low, int64_t high, float fraction, uint8_t* out) {
    const float *top = planes_of(low), *bottom = planes_of(high);
    std::fill_n(best_, width_, -std::numeric_limits<float>::infinity());
    std::fill_n(winner_, width_, 0);
    for (int k = 0; k < classes_; ++k, top += width_, bottom += width_)
      compare_class(top, bottom, fraction, width_, k, best_, winner_);
    std::copy_n(winner_, width_, out);
  }

 private:
  const float* planes_of(int64_t row) {
    const int slot = row % 2;
    if (held_[slot] != row) widen(logits_ + row * in_row_, columns_, width_, classes_, planes_[slot]);
    held_[slot] = row;
    return planes_[slot];
  }

  int classes_, width_;
  int64_t in_row_;
  const float* logits_;
  const Columns& columns_;
  float* planes_[2];
  int64_t held_[2] = {-1, -1};
  float* best_;
  int* winner_;
};

}  // namespace

void run(const UpsampledArgMax& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const UpsampleShape& shape = args.shape;
  const auto rows = interpolations(shape.rows());
  const Columns columns(shape.columns());
  const int64_t stride = (RowWorker::scratch_elements(shape) + 15) / 16 * 16;
  float* scratch = queue.scratch(stride * queue.threads());
  parallel_chunks(queue, shape.images * shape.out_height, kRows, [&](int64_t begin, int64_t end) {
    RowWorker worker(args, columns, scratch + omp_get_thread_num() * stride);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row / shape.out_height * shape.in_height;
      const Interpolation& at = rows[row % shape.out_height];
      worker.run(first + at.low, first + at.high, at.fraction, args.classes + row * shape.out_width);
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

void run(const PredictedTags& args, Queue& queue) {
  parallel_for(queue, args.images, [&](int64_t image) {
    uint8_t shown[256] = {1};
    for (int64_t i = image * args.pixels; i < (image + 1) * args.pixels; ++i) shown[args.prediction[i]] = 1;
    std::copy_n(shown, args.classes, args.tags + image * args.classes);
  });
}

}  // namespace scrawl::cpu
