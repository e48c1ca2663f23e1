// Column sums of a tall matrix; see device/column_sums.cuh for their order and limits.
// Cost: one read of x; the partial sums, a few hundred rows, are little beside it.
#include "kernels/column_sum.h"

#include "kernels/cuda/device/column_sums.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) sum_columns(const T* x, int64_t rows, ColumnSumsTarget to) {
  const int64_t column = my_column<width>(), first = blockIdx.x * to.rows_of_part;
  const int64_t end = column < to.columns ? min(rows, first + to.rows_of_part) : 0;
  finish_column_sums(sum_of_my_rows<width>(x + column, to.columns, first, end), to);
}

}  // namespace

void run(const ColumnSum& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(args.columns, {args.x}), [&](auto width) {
      const ColumnSumsLaunch sums(args.rows, args.columns, width, queue);
      launch(queue, sums.shape(args.name), sum_columns<T, width>, static_cast<const T*>(args.x), args.rows,
             sums.target(args.sum, args.accumulate));
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
