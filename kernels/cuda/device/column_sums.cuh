#pragma once
// Column sums of a tall matrix in one launch and fixed order, for kernels that walk it anyway: every block
// adds the rows of one part, its groups by a tree, and the last block of some columns adds their parts (see
// last_block.cuh).  Columns go in strips of 8 packs, so that the last block has few parts to add.
// Limits: a counter for each strip (see Queue::counters()), so 262,144 columns in packs of bf16, 32,768 of an
// odd number.
#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/last_block.cuh"

namespace scrawl::SCRAWL_GPU {

/// Where the sums go: sum [columns] (+)=, by way of a partial sum of every part if there are several.
struct ColumnSumsTarget {
  float* sum;
  int64_t columns;
  bool accumulate;
  float* partials;
  unsigned* counters;
  int64_t rows_of_part;
};

/// A launch over [rows, columns] in packs of `width`, for the host: each thread with 8 rows or more to add,
/// no part empty.  Depends on sizes alone.
class ColumnSumsLaunch {
 public:
  ColumnSumsLaunch(int64_t rows, int64_t columns, int64_t width, Queue& queue)
      : columns_(columns),
        block_(columns / width, /*most_lanes=*/8),
        rows_of_part_(ceil_div(rows, std::clamp<int64_t>(ceil_div(rows, 8 * block_.groups), 1,
                                                         std::max<int64_t>(1, kBlocks / block_.chunks)))),
        parts_(rows_of_part_ > 0 ? ceil_div(rows, rows_of_part_) : 1),
        partials_(queue.scratch(parts_ > 1 ? parts_ * columns : 0)),
        counters_(queue.counters(block_.chunks)) {}

  LaunchShape shape(std::string_view name) const { return block_.shape(name, parts_); }
  ColumnSumsTarget target(float* sum, bool accumulate) const {
    return {sum, columns_, accumulate, partials_.data(), counters_, rows_of_part_};
  }

 private:
  static constexpr int64_t kBlocks = 4 * 132;  // four on each multiprocessor of a large GPU
  int64_t columns_;
  ColumnBlock block_;
  int64_t rows_of_part_, parts_;
  Scratch partials_;
  unsigned* counters_;
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
