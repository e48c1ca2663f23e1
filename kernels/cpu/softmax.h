#pragma once
// Softmax of one short row: the classes of a pixel, or the prototypes that a pixel attends to.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/math.h"

namespace scrawl::cpu {

/// Replaces the n ≥ 1 values of a row by their softmax; returns log Σ exp of what was there.
inline float softmax(float* row, int n) {
  float largest = -std::numeric_limits<float>::infinity(), sum = 0.0f;
#pragma omp simd reduction(max : largest)
  for (int i = 0; i < n; ++i) largest = std::max(largest, row[i]);
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; ++i) {
    row[i] = exp_f32(row[i] - largest);
    sum += row[i];
  }
  const float share = 1.0f / sum;
#pragma omp simd
  for (int i = 0; i < n; ++i) row[i] *= share;
  return largest + std::log(sum);
}

}  // namespace scrawl::cpu
