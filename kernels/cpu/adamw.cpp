// AdamW in one pass over each group's part of the arena, with PyTorch's order of operations: decay, moments,
// bias-corrected step.  What depends on the step alone is computed in double, once a group.  Bound by memory
// (four arrays read, three written), with a square root and two divisions an element close behind.
#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {
namespace {

/// The factors that all elements of a group share.
struct Step {
  float keep;           // 1 − lr · decay
  float size;           // lr / (1 − β1^t)
  float root_of_bias2;  // √(1 − β2^t)
  float one_minus_beta1, beta2, one_minus_beta2, eps;
};

Step step_of(const AdamWGroup& group, const AdamW& args) {
  const double lr = static_cast<double>(group.lr) * args.state->lr_factor;
  const double t = static_cast<double>(group.steps);
  return {static_cast<float>(1.0 - lr * group.weight_decay),
          static_cast<float>(lr / (1.0 - std::pow(args.beta1, t))),
          static_cast<float>(std::sqrt(1.0 - std::pow(args.beta2, t))),
          static_cast<float>(1.0 - args.beta1),
          args.beta2,
          static_cast<float>(1.0 - args.beta2),
          args.eps};
}

void update(float* w, const float* g, float* m, float* v, int64_t n, Step step) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    m[i] += step.one_minus_beta1 * (g[i] - m[i]);
    v[i] = step.beta2 * v[i] + step.one_minus_beta2 * g[i] * g[i];
    w[i] = step.keep * w[i] - step.size * (m[i] / (std::sqrt(v[i]) / step.root_of_bias2 + step.eps));
  }
}

void round(const float* w, bf16* rounded, int64_t n) {
  for (int64_t i = 0; i < n; ++i) rounded[i] = to_bf16(w[i]);
}

}  // namespace

void run(const AdamWCount& args, Queue&) {
  for (int i = 0; i < args.group_count; ++i) args.groups[i].steps += is_active(args.active, i);
}

void run(const AdamW& args, Queue& queue) {
  for (int i = 0; i < args.group_count; ++i) {
    if (!is_active(args.active, i)) continue;
    const AdamWGroup& group = args.groups[i];
    const Step step = step_of(group, args);
    const int64_t first = std::max(args.begin, group.begin), behind = std::min(args.end, group.end);
    parallel_chunks(queue, std::max<int64_t>(0, behind - first), grain_for(1),
                    [&](int64_t begin, int64_t end) {
                      const int64_t at = first + begin;
                      update(args.value + at, args.gradient + at, args.first_moment + at,
                             args.second_moment + at, end - begin, step);
                      if (args.rounded) round(args.value + at, args.rounded + at, end - begin);
                    });
  }
}

}  // namespace scrawl::cpu
