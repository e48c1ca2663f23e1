#pragma once
#include "kernels/step_state.h"

namespace scrawl {

/// Stochastic depth of one residual branch: with probability `rate` a sample's branch is dropped, else it is
/// scaled by 1/(1 − rate).  Rate 0 draws nothing.
struct DropPath {
  float rate = 0.0f;
  RandomStream random;
  constexpr float scale(uint32_t image) const {
    if (rate == 0.0f) return 1.0f;
    return random.uniform_at(image) < 1.0f - rate ? 1.0f / (1.0f - rate) : 0.0f;
  }
};

}  // namespace scrawl
