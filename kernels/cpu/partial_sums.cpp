#include "kernels/cpu/partial_sums.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

namespace {

constexpr int64_t kLane = 64;  // columns added side by side, in registers

void sum_block(const float* x, int64_t ld, int64_t rows, int64_t columns, float* sum) {
  float total[kLane] = {};
  if (columns == kLane) {
    for (int64_t row = 0; row < rows; ++row) {
#pragma omp simd
      for (int64_t j = 0; j < kLane; ++j) total[j] += x[row * ld + j];
    }
  } else {
    for (int64_t row = 0; row < rows; ++row) {
#pragma omp simd
      for (int64_t j = 0; j < columns; ++j) total[j] += x[row * ld + j];
    }
  }
  for (int64_t j = 0; j < columns; ++j) sum[j] += total[j];
}

}  // namespace

void sum_columns(const float* x, int64_t ld, int64_t rows, int64_t columns, float* sum) {
  constexpr int64_t kRows = 32;
  std::fill(sum, sum + columns, 0.0f);
  for (int64_t row = 0; row < rows; row += kRows)
    for (int64_t column = 0; column < columns; column += kLane)
      sum_block(x + row * ld + column, ld, std::min(kRows, rows - row), std::min(kLane, columns - column),
                sum + column);
}

void add_partials(const float* partials, int64_t parts, int64_t stride, int64_t elements, float* out,
                  bool accumulate) {
  constexpr int64_t kBlock = 256;
  for (int64_t first = 0; first < elements; first += kBlock) {
    const int64_t count = std::min(kBlock, elements - first);
    double total[kBlock] = {};
    for (int64_t part = 0; part < parts; ++part) {
      const float* partial = partials + part * stride + first;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) total[i] += partial[i];
    }
    float* target = out + first;
    if (accumulate) {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) target[i] = static_cast<float>(target[i] + total[i]);
    } else {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) target[i] = static_cast<float>(total[i]);
    }
  }
}

void reduce_partials(Queue& queue, const float* partials, int64_t parts, int64_t stride, int64_t elements,
                     float* out, bool accumulate) {
  constexpr int64_t kChunk = 4096;
  parallel_chunks(queue, elements, kChunk, [&](int64_t begin, int64_t end) {
    add_partials(partials + begin, parts, stride, end - begin, out + begin, accumulate);
  });
}

}  // namespace scrawl::cpu
