#include "tests/op_cases/bilinear.h"

#include <algorithm>
#include <cmath>

namespace scrawl::op_table {
namespace {

/// Where an output position falls on the input's axis.
double source(int64_t position, int64_t in, int64_t out, bool align_corners) {
  if (align_corners) return out > 1 ? static_cast<double>(position) * (in - 1) / (out - 1) : 0.0;
  return std::max((position + 0.5) * in / out - 0.5, 0.0);
}

/// The weight of a cell for a source coordinate: a tent, with the border cell continued outwards.
double weight(int64_t cell, double at, int64_t in) {
  return std::max(0.0, 1.0 - std::fabs(std::min(at, in - 1.0) - cell));
}

}  // namespace

Numbers bilinear(const Numbers& x, const Shape& shape, int64_t out_height, int64_t out_width,
                 bool align_corners) {
  const int64_t height = shape[1], width = shape[2], channels = shape[3];
  Numbers y(shape[0] * out_height * out_width * channels);
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t oy = 0; oy < out_height; ++oy)
      for (int64_t ox = 0; ox < out_width; ++ox) {
        const double sy = source(oy, height, out_height, align_corners);
        const double sx = source(ox, width, out_width, align_corners);
        const auto top = static_cast<int64_t>(sy), left = static_cast<int64_t>(sx);
        for (int64_t iy = top; iy <= std::min(top + 1, height - 1); ++iy)
          for (int64_t ix = left; ix <= std::min(left + 1, width - 1); ++ix)
            for (int64_t c = 0; c < channels; ++c)
              y[((n * out_height + oy) * out_width + ox) * channels + c] +=
                  weight(iy, sy, height) * weight(ix, sx, width) *
                  x[((n * height + iy) * width + ix) * channels + c];
      }
  return y;
}

}  // namespace scrawl::op_table
