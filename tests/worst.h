#pragma once
#include <cmath>

namespace scrawl {

/// The larger of two errors; NaN once one of them is NaN, which std::max() may lose.
inline double worse(double worst, double error) {
  return std::isnan(worst) || error <= worst ? worst : error;
}

}  // namespace scrawl
