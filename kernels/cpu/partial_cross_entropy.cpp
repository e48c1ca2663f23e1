// Cross-entropy over labelled pixels of upsampled logits that are never written: a labelled pixel (about 3 %
// with scribbles) blends the logits of the four cells around it.  Forward cuts images into bands of pixel
// rows, each with its own sums.  Backward cuts them into bands of cell rows; a band visits every pixel that
// touches its cells, in order, and adds to its own cells only, so pixels on the border of two bands are
// computed twice and nothing is shared.  Cost: reading the labels, and a softmax for each labelled pixel.
#include "kernels/partial_cross_entropy.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/resize.h"
#include "kernels/cpu/softmax.h"

namespace scrawl::cpu {
namespace {

constexpr int kPixelRows = 16, kCellRows = 8;  // of a band
constexpr int kMaxClasses = 256;

/// Logits, labels and interpolation tables of a batch.
struct Maps {
  const PartialCrossEntropyShape& shape;
  const float* logits;
  const uint8_t* label;
  std::vector<Interpolation> rows = interpolations(shape.rows());
  std::vector<Interpolation> columns = interpolations(shape.columns());

  int64_t cell(int64_t image, int row, int column) const {
    return ((image * shape.in_height + row) * shape.in_width + column) * shape.classes;
  }
  const uint8_t* label_row(int64_t image, int row) const {
    return label + (image * shape.out_height + row) * shape.out_width;
  }
  /// The logits of one pixel.
  void sample(int64_t image, int row, int column, float* out) const {
    const Interpolation &y = rows[row], &x = columns[column];
    const float *a = logits + cell(image, y.low, x.low), *b = logits + cell(image, y.low, x.high),
                *c = logits + cell(image, y.high, x.low), *d = logits + cell(image, y.high, x.high);
    const float fx = x.fraction, fy = y.fraction;
#pragma omp simd
    for (int k = 0; k < shape.classes; ++k) {
      const float top = a[k] + fx * (b[k] - a[k]), bottom = c[k] + fx * (d[k] - c[k]);
      out[k] = top + fy * (bottom - top);
    }
  }
};

double band_loss(const Maps& maps, int64_t image, int first_row, int end_row) {
  double sum = 0.0;
  float z[kMaxClasses];
  for (int row = first_row; row < end_row; ++row) {
    const uint8_t* label = maps.label_row(image, row);
    for (int column = 0; column < maps.shape.out_width; ++column) {
      if (label[column] == kUnlabelled) continue;
      maps.sample(image, row, column, z);
      const float truth = z[label[column]];
      sum += softmax(z, maps.shape.classes) - truth;
    }
  }
  return sum;
}

/// Adds scale · (softmax − one-hot) of the pixels around cell rows [first, end) to those rows.
void add_band_gradient(const Maps& maps, int64_t image, int first, int end, float scale, float* dlogits) {
  const int classes = maps.shape.classes;
  float p[kMaxClasses];
  for (int row = 0; row < maps.shape.out_height; ++row) {
    const Interpolation& y = maps.rows[row];
    if (y.high < first || y.low >= end) continue;
    const bool low_inside = y.low >= first, high_inside = y.high < end;
    const uint8_t* label = maps.label_row(image, row);
    for (int column = 0; column < maps.shape.out_width; ++column) {
      if (label[column] == kUnlabelled) continue;
      maps.sample(image, row, column, p);
      softmax(p, classes);
      p[label[column]] -= 1.0f;
      const Interpolation& x = maps.columns[column];
      const auto add = [&](int cell_row, float weight) {
        add_scaled(weight * (1.0f - x.fraction), p, classes, true,
                   dlogits + maps.cell(image, cell_row, x.low));
        add_scaled(weight * x.fraction, p, classes, true, dlogits + maps.cell(image, cell_row, x.high));
      };
      if (low_inside) add(y.low, scale * (1.0f - y.fraction));
      if (high_inside) add(y.high, scale * y.fraction);
    }
  }
}

}  // namespace

void run(const LabelCount& args, Queue&) {
  const std::span label(args.label, args.pixels);
  args.labelled[0] = static_cast<int32_t>(args.pixels - std::ranges::count(label, uint8_t{kUnlabelled}));
}

void run(const PartialCrossEntropyForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const PartialCrossEntropyShape& shape = args.shape;
  const Maps maps{shape, static_cast<const float*>(args.logits), args.label};
  const int64_t bands = (shape.out_height + kPixelRows - 1) / kPixelRows;
  std::vector<double> losses(shape.images * bands);
  parallel_for(queue, shape.images * bands, [&](int64_t index) {
    const int first = static_cast<int>(index % bands) * kPixelRows;
    losses[index] = band_loss(maps, index / bands, first, std::min(first + kPixelRows, shape.out_height));
  });
  const double total = std::accumulate(losses.begin(), losses.end(), 0.0);
  args.loss[0] = args.labelled[0] > 0 ? static_cast<float>(total / args.labelled[0]) : 0.0f;
}

void run(const PartialCrossEntropyBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const PartialCrossEntropyShape& shape = args.shape;
  const Maps maps{shape, static_cast<const float*>(args.logits), args.label};
  auto* dlogits = static_cast<float*>(args.dlogits);
  const int64_t bands = (shape.in_height + kCellRows - 1) / kCellRows;
  const float scale = args.labelled[0] > 0 ? args.dloss / static_cast<float>(args.labelled[0]) : 0.0f;
  parallel_for(queue, shape.images * bands, [&](int64_t index) {
    const int64_t image = index / bands;
    const int first = static_cast<int>(index % bands) * kCellRows;
    const int end = std::min(first + kCellRows, shape.in_height);
    if (!args.accumulate)
      std::fill(dlogits + maps.cell(image, first, 0), dlogits + maps.cell(image, end, 0), 0.0f);
    add_band_gradient(maps, image, first, end, scale, dlogits);
  });
}

}  // namespace scrawl::cpu
