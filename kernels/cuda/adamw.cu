// AdamW over a part of one flat arena, whatever groups lie in it, in one launch.  A block owns a span and
// asks every group (there are a few) what it has of that span; a thread takes four values at once where a
// group covers all four, else value by value.  Blocks are soon done, and so make room for kernels in more of
// a hurry.  Bias corrections come from expm1, which keeps all digits of
// 1 − β^t when t is small, so that fp32 does.
// Cost: bound by memory: four arrays read and three written, 28 bytes an element, against some 45
// instructions.
#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256;

/// What the betas give, by the host in double precision.
struct Rates {
  float log_beta1, log_beta2, one_minus_beta1, beta2, one_minus_beta2, eps;
};

/// The factors that all elements of a group share.
struct Step {
  float keep;            // 1 − lr · decay
  float size;            // lr / (1 − β1^t)
  float per_root_bias2;  // 1 / √(1 − β2^t)
};

__device__ Step step_of(const AdamWGroup& group, const StepState& state, const Rates& rates) {
  const float lr = group.lr * state.lr_factor, t = static_cast<float>(group.steps);
  return {1.0f - lr * group.weight_decay, lr / -expm1f(t * rates.log_beta1),
          1.0f / sqrtf(-expm1f(t * rates.log_beta2))};
}

template <int width>
__device__ void update(const AdamW& args, int64_t index, const Step& step, const Rates& rates) {
  const auto g = load<width>(args.gradient + index);
  auto m = load<width>(args.first_moment + index);
  auto v = load<width>(args.second_moment + index);
  auto w = load<width>(args.value + index);
#pragma unroll
  for (int i = 0; i < width; ++i) {
    m[i] += rates.one_minus_beta1 * (g[i] - m[i]);
    v[i] = rates.beta2 * v[i] + rates.one_minus_beta2 * g[i] * g[i];
    w[i] = step.keep * w[i] - step.size * (m[i] / (sqrtf(v[i]) * step.per_root_bias2 + rates.eps));
  }
  store<width>(args.first_moment + index, m);
  store<width>(args.second_moment + index, v);
  store<width>(args.value + index, w);
  if (args.rounded) store<width>(args.rounded + index, w);
}

template <int width>
__global__ void __launch_bounds__(kThreads) update_arena(AdamW args, Rates rates) {
  constexpr int64_t kSpan = int64_t{kThreads} * width;
  const int64_t first = args.begin + blockIdx.x * kSpan, pack = first + threadIdx.x * width;
  for (int number = 0; number < args.group_count; ++number) {
    const AdamWGroup group = args.groups[number];
    if (!is_active(args.active, number) || group.end <= first || group.begin >= first + kSpan) continue;
    const Step step = step_of(group, *args.state, rates);
    const int64_t begin = max(pack, group.begin), end = min(min(pack + width, group.end), args.end);
    if (end - begin == width) {
      update<width>(args, pack, step, rates);
    } else {
      for (int64_t index = begin; index < end; ++index) update<1>(args, index, step, rates);
    }
  }
}

__global__ void count_update(AdamWCount args) {
  const int group = static_cast<int>(threadIdx.x);
  if (group < args.group_count) args.groups[group].steps += is_active(args.active, group);
}

}  // namespace

void run(const AdamWCount& args, Queue& queue) {
  launch(queue, LaunchShape{.name = args.name, .block = {args.group_count}}, count_update, args);
}

void run(const AdamW& args, Queue& queue) {
  const Rates rates{static_cast<float>(std::log(static_cast<double>(args.beta1))),
                    static_cast<float>(std::log(static_cast<double>(args.beta2))),
                    static_cast<float>(1.0 - args.beta1),
                    args.beta2,
                    static_cast<float>(1.0 - args.beta2),
                    args.eps};
  const bool vectors = args.begin % 4 == 0 && packable(4, {args.value, args.gradient, args.first_moment,
                                                           args.second_moment, args.rounded}) == 4;
  const int64_t span = int64_t{kThreads} * (vectors ? 4 : 1);
  launch(queue,
         LaunchShape{.name = args.name, .grid = {ceil_div(args.end - args.begin, span)}, .block = {kThreads}},
         vectors ? update_arena<4> : update_arena<1>, args, rates);
}

}  // namespace scrawl::SCRAWL_GPU
