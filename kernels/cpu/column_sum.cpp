// Column sums of a tall matrix: one partial sum per fixed chunk of rows, then all partial sums in order.
// Cost: one read of x.  Limits: columns are walked in registers of 64, so a matrix of few columns runs below
// the speed of memory.
#include "kernels/column_sum.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"

namespace scrawl::cpu {

void run(const ColumnSum& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  const int64_t grain = std::clamp<int64_t>(grain_for(args.columns), 1, 4096);
  const int64_t chunks = ceil_div(args.rows, grain);
  float* partials = queue.scratch(chunks * args.columns);
  parallel_chunks(queue, args.rows, grain, [&](int64_t begin, int64_t end) {
    sum_columns(x + begin * args.columns, args.columns, end - begin, args.columns,
                partials + begin / grain * args.columns);
  });
  reduce_partials(queue, partials, chunks, args.columns, args.columns, args.sum, args.accumulate);
}

}  // namespace scrawl::cpu
