// Column sums of a tall matrix in one launch and fixed order: every block adds the rows of one part, its
// groups by a tree, and the last block of some columns adds their parts (see device/last_block.cuh).  Columns
// go in strips of 128 bytes, so that the last block has few parts to add.
// Cost: one read of x; the partial sums, a few hundred rows, are little beside it.
// Limits: a counter for each strip (see Queue::counters()), so 262,144 columns in packs of bf16, 32,768 of an
// odd number.
#include "kernels/column_sum.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/last_block.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kLanes = 8;
constexpr int64_t kBlocks = 4 * 132;  // four on each multiprocessor of a large GPU

/// How rows are cut: each thread with 8 rows or more to add, none empty.  Depends on sizes alone.
struct Cut {
  int64_t parts, rows;
  Cut(int64_t all_rows, const ColumnBlock& block) {
    const int64_t most = std::max<int64_t>(1, kBlocks / block.chunks);
    rows = ceil_div(all_rows, std::clamp<int64_t>(ceil_div(all_rows, 8 * block.groups), 1, most));
    parts = rows > 0 ? ceil_div(all_rows, rows) : 1;
  }
};

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    sum_columns(ColumnSum args, float* partials, unsigned* counters, int64_t rows_of_part) {
  const int64_t columns = args.columns, column = my_column<width>();
  const bool mine = column < columns;
  const int64_t first = blockIdx.x * rows_of_part, end = mine ? min(args.rows, first + rows_of_part) : 0;
  auto total = sum_of_rows<width>(static_cast<const T*>(args.x) + column, columns, first, end);
  if (gridDim.x > 1) {
    if (mine && threadIdx.y == 0) store<width>(partials + blockIdx.x * columns + column, total);
    if (!is_last_block(counters + blockIdx.y, gridDim.x)) return;
    total = sum_of_rows<width>(partials + column, columns, 0, mine ? gridDim.x : 0);
  }
  if (!mine || threadIdx.y > 0) return;
#pragma unroll
  for (int i = 0; i < width; ++i)
    args.sum[column + i] = (args.accumulate ? args.sum[column + i] : 0.0f) + total[i];
}

}  // namespace

void run(const ColumnSum& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(args.columns, {args.x}), [&](auto width) {
      const ColumnBlock block(args.columns / width, kLanes);
      const Cut cut(args.rows, block);
      float* partials = cut.parts > 1 ? queue.scratch(cut.parts * args.columns) : nullptr;
      launch(queue, block.shape(args.name, cut.parts), sum_columns<T, width>, args, partials,
             queue.counters(block.chunks), cut.rows);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
