#pragma once
#include "tests/op_cases/number.h"

namespace scrawl::op_table {

/// Layer norm of rows of gamma.size() channels, by definition.
inline Numbers normalised(const Numbers& x, const Numbers& gamma, const Numbers& beta, double eps) {
  const size_t channels = gamma.size();
  Numbers y(x.size());
  for (size_t begin = 0; begin < x.size(); begin += channels) {
    const Number* row = &x[begin];
    Number mean, variance;
    for (size_t c = 0; c < channels; ++c) mean += row[c] / channels;
    for (size_t c = 0; c < channels; ++c) variance += (row[c] - mean) * (row[c] - mean) / channels;
    const Number rstd = 1.0 / sqrt(variance + eps);
    for (size_t c = 0; c < channels; ++c) y[begin + c] = (row[c] - mean) * rstd * gamma[c] + beta[c];
  }
  return y;
}

}  // namespace scrawl::op_table
