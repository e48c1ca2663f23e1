// Filling a buffer and adding one to another: one pass each, bound by memory.
#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

void run(const SetZero& args, Queue& queue) {
  auto* y = static_cast<std::byte*>(args.y);
  parallel_chunks(queue, args.bytes, 4 * grain_for(1),
                  [=](int64_t begin, int64_t end) { std::memset(y + begin, 0, end - begin); });
}

void run(const Fill& args, Queue& queue) {
  parallel_chunks(queue, args.elements, grain_for(1), [&](int64_t begin, int64_t end) {
    std::fill(args.y + begin, args.y + end, args.value);
  });
}

void run(const AddInto& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  auto* y = static_cast<float*>(args.y);
  parallel_chunks(queue, args.elements, grain_for(1), [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) y[i] += x[i];
  });
}

}  // namespace scrawl::cpu
