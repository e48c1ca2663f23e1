// Column sums of a tall matrix in two stages of fixed order (see device/columns.cuh); one launch when there
// are few rows.  Cost: one read of x; the partial sums, a few hundred rows, are little beside it.
#include "kernels/column_sum.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

/// sums[part, column] (+)= Σ x over the rows of a part.
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    sum_part(const T* x, float* sums, int64_t rows, int64_t columns, int64_t rows_per_part, bool accumulate) {
  const int64_t column = my_column<width>(), first = blockIdx.x * rows_per_part;
  const int64_t end = min(rows, first + rows_per_part);
  Floats<width> total{};
  if (column < columns)
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < end; row += blockDim.y) {
      const auto values = load<width>(x + row * columns + column);
#pragma unroll
      for (int i = 0; i < width; ++i) total[i] += values[i];
    }
  add_over_groups(total);
  if (threadIdx.y > 0 || column >= columns) return;
  float* target = sums + blockIdx.x * columns + column;
#pragma unroll
  for (int i = 0; i < width; ++i) target[i] = (accumulate ? target[i] : 0.0f) + total[i];
}

__global__ void __launch_bounds__(kPartColumns* kPartThreads)
    add_parts(const float* partials, float* sum, int64_t parts, int64_t columns, bool accumulate) {
  const int64_t column = column_of_parts();
  const double total = sum_of_parts(column < columns ? parts : 0,
                                    [=](int64_t part) { return double{partials[part * columns + column]}; });
  if (threadIdx.y > 0 || column >= columns) return;
  sum[column] = (accumulate ? sum[column] : 0.0f) + static_cast<float>(total);
}

}  // namespace

void run(const ColumnSum& args, Queue& queue) {
  const int64_t columns = args.columns;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(columns, {args.x}), [&](auto width) {
      const ColumnBlock block(columns / width);
      const RowParts parts(args.rows, block);
      const bool direct = parts.count == 1;
      float* sums = direct ? args.sum : queue.scratch(parts.count * columns);
      launch(queue, block.shape(args.name, parts.count), sum_part<T, width>, static_cast<const T*>(args.x),
             sums, args.rows, columns, parts.rows, direct && args.accumulate);
      if (!direct)
        launch(queue, shape_for_parts(args.name, columns), add_parts, sums, args.sum, parts.count, columns,
               args.accumulate);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
