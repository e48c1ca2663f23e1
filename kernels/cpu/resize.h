#pragma once
// Bilinear interpolation, one axis at a time: tables per axis, computed once a call, and the two row
// operations that they drive.
#include <span>
#include <vector>

#include "kernels/upsample.h"

namespace scrawl::cpu {

/// Where each output of an axis falls among the inputs.
inline std::vector<Interpolation> interpolations(const ResizeAxis& axis) {
  std::vector<Interpolation> table(axis.out);
  for (int position = 0; position < axis.out; ++position) table[position] = axis.at(position);
  return table;
}

/// The transpose: for each input of an axis the outputs that read it, in rising order, with their weights.
class TransposedAxis {
 public:
  struct Tap {
    int output;
    float weight;
  };

  explicit TransposedAxis(const ResizeAxis& axis) : begin_(axis.in + 1, 0), taps_(2 * axis.out) {
    const std::vector<Interpolation> table = interpolations(axis);
    for (const Interpolation& at : table) {
      ++begin_[at.low + 1];
      ++begin_[at.high + 1];
    }
    for (int cell = 0; cell < axis.in; ++cell) begin_[cell + 1] += begin_[cell];
    std::vector<int> next(begin_);
    for (int output = 0; output < axis.out; ++output) {
      const Interpolation& at = table[output];
      taps_[next[at.low]++] = {output, 1.0f - at.fraction};
      taps_[next[at.high]++] = {output, at.fraction};
    }
  }

  std::span<const Tap> of(int cell) const {
    return std::span(taps_).subspan(begin_[cell], begin_[cell + 1] - begin_[cell]);
  }

 private:
  std::vector<int> begin_;  // [in + 1]
  std::vector<Tap> taps_;   // two for each output
};

/// out[i] = low[i] + fraction · (high[i] − low[i]).
inline void blend(const float* low, const float* high, float fraction, int64_t n, float* out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = low[i] + fraction * (high[i] - low[i]);
}

/// y[i] = weight · x[i], added to what is there when `add`.
inline void add_scaled(float weight, const float* x, int64_t n, bool add, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = (add ? y[i] : 0.0f) + weight * x[i];
}

}  // namespace scrawl::cpu
