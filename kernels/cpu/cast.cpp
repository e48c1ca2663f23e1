// The CPU computes in f32 alone, so that nothing changes its type here; f32 to f32 is a copy or a sum.
#include "kernels/cast.h"

#include <cstring>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

void run(const Cast& args, Queue& queue) {
  require_f32(args.from, args.name);
  require_f32(args.to, args.name);
  const auto* x = static_cast<const float*>(args.x);
  auto* y = static_cast<float*>(args.y);
  parallel_chunks(queue, args.elements, grain_for(1), [=, &args](int64_t begin, int64_t end) {
    if (!args.accumulate) {
      std::memcpy(y + begin, x + begin, (end - begin) * sizeof(float));
      return;
    }
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) y[i] += x[i];
  });
}

}  // namespace scrawl::cpu
