#pragma once
#include <string_view>

#include "kernels/bf16.h"
#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"
#include "kernels/step_state.h"

namespace scrawl {

/// One parameter group: the elements [begin, end) of the arena.  `steps` counts its updates.
struct AdamWGroup {
  int64_t begin = 0, end = 0;
  float lr = 0.0f;  // base rate, before StepState::lr_factor
  float weight_decay = 0.0f;
  int64_t steps = 0;
};

/// Which of up to 32 groups take part in an update: bit i for group i.  PyTorch skips parameters that have no
/// gradient yet, and so do we.
using ActiveGroups = uint32_t;
constexpr bool is_active(ActiveGroups groups, int number) {
  return groups >> number & 1;
}

/// Counts the update at hand in `steps` of the active groups, ahead of AdamW.  The counters live in device
/// memory, so that a captured step can be replayed.
struct AdamWCount {
  static constexpr std::string_view name = "adamw.count";
  AdamWGroup* groups = nullptr;
  int group_count = 0;
  ActiveGroups active = 0;
  Cost cost() const { return {2 * group_count * static_cast<int64_t>(sizeof(int64_t)), 0}; }
};

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it, over the elements [begin, end) of one flat
/// arena that lie in groups:
///   w −= lr·decay·w;  m = β1 m + (1−β1) g;  v = β2 v + (1−β2) g²;
///   w −= lr / (1−β1^t) · m / (√v / √(1−β2^t) + eps).
/// t is the group's `steps`.  groups and state lie in device memory; groups do not overlap.
/// `rounded`, where matrix products read the weights in bf16, gets a copy of every value that changes.
struct AdamW {
  static constexpr std::string_view name = "adamw";
  float* value = nullptr;
  const float* gradient = nullptr;
  float* first_moment = nullptr;
  float* second_moment = nullptr;
  bf16* rounded = nullptr;  // or null
  const AdamWGroup* groups = nullptr;
  int group_count = 0;
  ActiveGroups active = 0;
  const StepState* state = nullptr;
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  int64_t begin = 0, end = 0;
  Cost cost() const { return {(7 * 4 + (rounded ? 2 : 0)) * (end - begin), 14 * (end - begin)}; }
};

namespace cpu {
void run(const AdamWCount&, Queue&);
void run(const AdamW&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const AdamWCount&, Queue&);
void run(const AdamW&, Queue&);
}  // namespace cuda
namespace simt {
void run(const AdamWCount&, Queue&);
void run(const AdamW&, Queue&);
}  // namespace simt

}  // namespace scrawl
