// Weight gradients first, which need x; then input gradients over it, by chunks of rows whose product stays
// in the cache until it meets x.
#include "kernels/linear_backward.h"

#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

void run(const RectifiedLinearBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  run(args.weight_product(), queue);
  const int64_t inputs = args.inputs, outputs = args.outputs;
  const Factor dy{static_cast<const float*>(args.dy), outputs}, w{static_cast<const float*>(args.w), inputs};
  const auto* x = static_cast<const float*>(args.x);
  auto* dx = static_cast<float*>(args.dx);
  parallel_chunks(queue, args.rows, grain_for(inputs), [=](int64_t begin, int64_t end) {
    std::vector<float> product((end - begin) * inputs);
    gemm(end - begin, inputs, outputs, {dy.data + begin * outputs, outputs}, w, 0.0f, product.data(), inputs);
    const float *from = product.data(), *gate = x + begin * inputs;
    float* const to = dx + begin * inputs;
#pragma omp simd
    for (int64_t i = 0; i < (end - begin) * inputs; ++i) {
      const float gradient = from[i];  // loaded in any case: a load that hangs on x would not be vectorised
      to[i] = gate[i] > 0.0f ? gradient : 0.0f;
    }
  });
}

}  // namespace scrawl::cpu
