#pragma once
// Column sums of a tall matrix in one launch and fixed order, for kernels that walk it anyway: every block
// adds the rows of one part, its groups by a tree, and the last block of some columns adds their parts (see
// last_block.cuh).  Columns go in strips of 8 packs, so that the last block has few parts to add.
// Limits: a counter for each strip (see Queue::counters()), so 262,144 columns in packs of bf16, 32,768 of an
// odd number.
#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/last_block.cuh"

namespace scrawl::SCRAWL_GPU {

/// A launch over [rows, columns], for the host: each thread with 8 rows or more to add, no part empty.
/// Depends on sizes alone.
struct ColumnSumsLaunch {
  ColumnBlock block;
  int64_t rows_of_part, parts;

  ColumnSumsLaunch(int64_t rows, int64_t packs) : block(packs, /*most_lanes=*/8) {
    constexpr int64_t kBlocks = 4 * 132;  // four on each multiprocessor of a large GPU
    const int64_t most = std::max<int64_t>(1, kBlocks / block.chunks);
    rows_of_part = ceil_div(rows, std::clamp<int64_t>(ceil_div(rows, 8 * block.groups), 1, most));
    parts = rows_of_part > 0 ? ceil_div(rows, rows_of_part) : 1;
  }
  /// What the launch works in.
  Scratch partials(int64_t columns, Queue& queue) const {
    return queue.scratch(parts > 1 ? parts * columns : 0);
  }
};

/// Where the sums go: sum [columns] (+)=.  `partials` has room for the columns of all parts where there are
/// several; see ColumnSumsLaunch::partials().
struct ColumnSumsTarget {
  float* sum;
  int64_t columns;
  bool accumulate;
  float* partials;
  unsigned* counters;
  int64_t rows_of_part;

  ColumnSumsTarget(float* to, int64_t count, bool add, const ColumnSumsLaunch& launch, const Scratch& scratch,
                   Queue& queue)
      : sum(to),
        columns(count),
        accumulate(add),
        partials(scratch.data()),
        counters(queue.counters(launch.block.chunks)),
        rows_of_part(launch.rows_of_part) {}
};

/// Adds up what all threads of all blocks have of their columns.  All threads call it, those beyond the last
/// column with zeros.
template <int width>
__device__ void finish_column_sums(Floats<width> total, const ColumnSumsTarget& to) {
  const int64_t column = my_column<width>();
  const bool mine = column < to.columns;
  add_over_groups(total);
  if (gridDim.x > 1) {
    if (mine && threadIdx.y == 0) store<width>(to.partials + blockIdx.x * to.columns + column, total);
    if (!is_last_block(to.counters + blockIdx.y, gridDim.x)) return;
    total = sum_of_rows<width>(to.partials + column, to.columns, 0, mine ? gridDim.x : 0);
  }
  if (!mine || threadIdx.y > 0) return;
#pragma unroll
  for (int i = 0; i < width; ++i) to.sum[column + i] = (to.accumulate ? to.sum[column + i] : 0.0f) + total[i];
}

}  // namespace scrawl::SCRAWL_GPU
