// y = max(x, 0) and its gradient: one pass each, bound by memory.  The comparison asks "is it negative?", to
// which NaN answers no, so that NaN passes through.
#include "kernels/relu.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"

namespace scrawl::cpu {

void run(const ReluForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  const auto* addend = static_cast<const float*>(args.addend);
  auto* y = static_cast<float*>(args.y);
  parallel_chunks(queue, args.elements, grain_for(1), [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const float sum = x[i] + (addend ? addend[i] : 0.0f);
      y[i] = sum < 0.0f ? 0.0f : sum;
    }
  });
}

void run(const ReluBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  check_results(args);
  const auto* y = static_cast<const float*>(args.y);
  const auto* dy = static_cast<const float*>(args.dy);
  auto* dx = static_cast<float*>(args.dx);
  const bool accumulate = args.accumulate;
  const int64_t columns = args.columns, rows = args.elements / columns;
  const int64_t grain = std::max<int64_t>(1, grain_for(1) / columns), chunks = ceil_div(rows, grain);
  float* partials = args.dx_sum ? queue.scratch(chunks * columns) : nullptr;
  parallel_chunks(queue, rows, grain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin * columns; i < end * columns; ++i) {
      const float gradient = dy[i];  // loaded in any case: a load that hangs on y would not be vectorised
      dx[i] = (accumulate ? dx[i] : 0.0f) + (y[i] > 0.0f ? gradient : 0.0f);
    }
    if (partials)
      sum_columns(dx + begin * columns, columns, end - begin, columns, partials + begin / grain * columns);
  });
  if (args.dx_sum)
    reduce_partials(queue, partials, chunks, columns, columns, args.dx_sum, args.accumulate_sum);
}

}  // namespace scrawl::cpu
