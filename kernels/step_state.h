#pragma once
#include <cstdint>

#include "kernels/philox.h"

namespace scrawl {

/// What changes from step to step.  Kernels read it from device memory, so that a captured step can be
/// replayed with new values.
struct StepState {
  uint64_t seed = 0;
  uint64_t step = 0;
  float lr_factor = 1.0f;  // learning rate of the step = base rate of the group × this
};

/// Where an operation draws its random numbers: the run's seed and step, and a number of its own.
struct RandomStream {
  const StepState* state = nullptr;
  uint32_t stream = 0;

  /// Uniform in [0, 1), the same on every device and for any order of evaluation.
  constexpr float uniform_at(uint32_t index) const {
    const auto words =
        philox({index, stream, static_cast<uint32_t>(state->step), static_cast<uint32_t>(state->step >> 32)},
               state->seed);
    return uniform(words[0]);
  }
};

}  // namespace scrawl
