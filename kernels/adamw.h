#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"
#include "kernels/step_state.h"

namespace scrawl {

/// One parameter group: the elements [begin, end) of the arena.  `steps` counts this group's updates
/// including the one at hand; 0 leaves the group as it is (PyTorch skips parameters that have no gradient
/// yet).
struct AdamWGroup {
  int64_t begin = 0, end = 0;
  float lr = 0.0f;  // base rate, before StepState::lr_factor
  float weight_decay = 0.0f;
  int64_t steps = 0;
};

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it, over all groups of one flat arena:
///   w −= lr·decay·w;  m = β1 m + (1−β1) g;  v = β2 v + (1−β2) g²;
///   w −= lr / (1−β1^t) · m / (√v / √(1−β2^t) + eps).
/// groups and state lie in device memory; groups do not overlap.
struct AdamW {
  static constexpr std::string_view name = "adamw";
  float* value = nullptr;
  const float* gradient = nullptr;
  float* first_moment = nullptr;
  float* second_moment = nullptr;
  const AdamWGroup* groups = nullptr;
  int group_count = 0;
  const StepState* state = nullptr;
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  int64_t elements = 0;  // of the whole arena: groups lie within
  Cost cost() const { return {7 * 4 * elements, 14 * elements}; }
};

namespace cpu {
void run(const AdamW&, Queue&);
}
namespace cuda {
void run(const AdamW&, Queue&);
}
namespace simt {
void run(const AdamW&, Queue&);
}

}  // namespace scrawl
