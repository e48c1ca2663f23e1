#pragma once
#include <algorithm>

#include "tests/op_cases/number.h"

namespace scrawl::op_table {

// Of `count` values.

inline Numbers log_softmax(const Number* x, int64_t count) {
  const double largest = std::max_element(x, x + count)->value();
  Number total;
  for (int64_t i = 0; i < count; ++i) total += exp(x[i] - largest);
  Numbers y(count);
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] - largest - log(total);
  return y;
}

inline Numbers softmax(const Number* x, int64_t count) {
  const double largest = std::max_element(x, x + count)->value();
  Number total;
  Numbers y(count);
  for (int64_t i = 0; i < count; ++i) total += y[i] = exp(x[i] - largest);
  for (Number& value : y) value /= total;
  return y;
}

}  // namespace scrawl::op_table
