// The gradient of y = max(x, 0), where no matrix product takes it along: one pass, bound by memory.
#include "kernels/relu.h"

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

void run(const ReluBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* y = static_cast<const float*>(args.y);
  const auto* dy = static_cast<const float*>(args.dy);
  auto* dx = static_cast<float*>(args.dx);
  parallel_chunks(queue, args.elements, grain_for(1), [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const float gradient = dy[i];  // loaded in any case: a load that hangs on y would not be vectorised
      dx[i] = y[i] > 0.0f ? gradient : 0.0f;
    }
  });
}

}  // namespace scrawl::cpu
