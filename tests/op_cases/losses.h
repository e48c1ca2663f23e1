#pragma once
#include <algorithm>
#include <cmath>

#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

/// log softmax of `count` values.
inline Values log_softmax(const double* x, int64_t count) {
  const double largest = *std::max_element(x, x + count);
  double total = 0.0;
  for (int64_t i = 0; i < count; ++i) total += std::exp(x[i] - largest);
  Values y(count);
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] - largest - std::log(total);
  return y;
}

}  // namespace scrawl::op_table
