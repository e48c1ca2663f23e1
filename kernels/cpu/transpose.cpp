// Transposition by squares that lie in registers: in step w = 1, 2, 4 … every pair of rows i and i + w
// exchanges blocks of w values across the diagonal, so that log₂ kLanes steps turn the square.  Cost: bound
// by memory; value by value it is ten times as long.
#include "kernels/cpu/transpose.h"

#include <algorithm>
#include <utility>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector.h"

namespace scrawl::cpu {

namespace {

template <int kWidth, int... kLane>
void exchange(Vector& upper, Vector& lower, std::integer_sequence<int, kLane...>) {
  const Vector a = upper, b = lower;
  upper = __builtin_shufflevector(a, b, (kLane & kWidth ? kLanes + kLane - kWidth : kLane)...);
  lower = __builtin_shufflevector(a, b, (kLane & kWidth ? kLanes + kLane : kLane + kWidth)...);
}

template <int kWidth = 1>
void turn(Vector (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    if (!(i & kWidth)) exchange<kWidth>(rows[i], rows[i + kWidth], std::make_integer_sequence<int, kLanes>());
  if constexpr (2 * kWidth < kLanes) turn<2 * kWidth>(rows);
}

}  // namespace

void transpose(const float* in, int64_t ld, int64_t rows, int64_t columns, float* out, int64_t out_ld) {
  for (int64_t column = 0; column < columns; column += kLanes)
    for (int64_t row = 0; row < rows; row += kLanes) {
      const int width = static_cast<int>(std::min<int64_t>(kLanes, columns - column));
      const int height = static_cast<int>(std::min<int64_t>(kLanes, rows - row));
      const float* const from = in + row * ld + column;
      float* const to = out + column * out_ld + row;
      Vector square[kLanes] = {};
      if (width == kLanes && height == kLanes) {
        for (int i = 0; i < kLanes; ++i) square[i] = load(from + i * ld);
        turn(square);
        for (int i = 0; i < kLanes; ++i) store(square[i], to + i * out_ld);
      } else {
        for (int i = 0; i < height; ++i) square[i] = load(from + i * ld, width);
        turn(square);
        for (int i = 0; i < width; ++i) store(square[i], to + i * out_ld, height);
      }
    }
}

void transpose(Queue& queue, const float* in, int64_t ld, int64_t rows, int64_t columns, float* out) {
  parallel_chunks(queue, columns, 2 * kLanes, [&](int64_t begin, int64_t end) {
    transpose(in + begin, ld, rows, end - begin, out + begin * rows, rows);
  });
}

}  // namespace scrawl::cpu
