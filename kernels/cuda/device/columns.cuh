#pragma once
// How kernels walk a matrix [rows, columns] whose columns run fastest.  A block is two-dimensional: x runs
// over packs of neighbouring columns (lanes), so that loads of a warp are contiguous, y over rows (groups).
// The grid's y runs over chunks of lanes when the matrix is wider than a block.
//
// Sums over rows take two stages in a fixed order: every block adds the rows of one part (its groups by a
// tree) and leaves a partial sum; then one thread group a column adds all parts, in double.
#include <algorithm>

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kColumnThreads = 256;

/// A block's shape for rows of `packs` packs, for the host.
struct ColumnBlock {
  int lanes = 1, groups = kColumnThreads;
  int64_t chunks = 1;

  /// Lanes are a power of two: as many as there are packs, but at most `most_lanes`.
  explicit ColumnBlock(int64_t packs, int most_lanes = 32) {
    while (lanes < most_lanes && lanes < packs) lanes *= 2;
    groups = kColumnThreads / lanes;
    chunks = ceil_div(packs, lanes);
  }
  LaunchShape shape(std::string_view name, int64_t grid_x) const {
    return {.name = name, .grid = {grid_x, chunks}, .block = {lanes, groups}};
  }
};

/// The first column of this thread's pack.
template <int width>
__device__ __forceinline__ int64_t my_column() {
  return (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * width;
}

/// N floats from anywhere: parameters may start at any element of their arena.  Where they are aligned, by
/// packs: value by value, each load of a warp's would touch all of their sectors.
template <int N>
__device__ __forceinline__ Floats<N> load_unaligned(const float* source) {
  if (reinterpret_cast<uintptr_t>(source) % alignof(Pack<float, N>) == 0) return load<N>(source);
  Floats<N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = source[i];
  return result;
}

/// How rows are cut into parts: enough of them to fill a large GPU, each thread with 8 to 1,024 rows to add.
/// None is empty.  Depends on sizes alone, and so do the sums' bits.
struct RowParts {
  int64_t count = 0, rows = 1;  // rows of all parts but the last

  /// `matrices` of this many rows are cut alike.
  RowParts(int64_t all_rows, const ColumnBlock& block, int64_t matrices = 1) {
    const int64_t most = ceil_div(512, block.chunks * std::max<int64_t>(1, matrices));
    const int64_t wanted = std::min(most, ceil_div(all_rows, 8 * block.groups));
    const int64_t parts = std::max(wanted, ceil_div(all_rows, 1024 * block.groups));
    if (parts == 0) return;
    rows = ceil_div(all_rows, parts);
    count = ceil_div(all_rows, rows);
  }
};

/// Adds the values of a lane's groups by a tree; the sums arrive in group 0.  All threads call it.
template <int N>
__device__ void add_over_groups(Floats<N>& values) {
  auto& sums = shared<Pack<float, N>[kColumnThreads], struct GroupSums>();
  const int me = thread_rank();
  store<N>(&sums[me][0], values);
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y >= half) continue;
    const auto others = load<N>(&sums[me + half * blockDim.x][0]);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += others[i];
    store<N>(&sums[me][0], values);
  }
}

/// Σ over this thread's share of rows [first, end), `stride` apart, of `width` neighbouring columns.  Eight
/// rows are on their way at once: where a thread has few, waiting for them is most of the work.
template <int width, typename T>
__device__ __forceinline__ Floats<width> sum_of_my_rows(const T* column, int64_t stride, int64_t first,
                                                        int64_t end) {
  constexpr int kAtOnce = 8;
  Floats<width> total{};
  for (int64_t row = first + threadIdx.y; row < end; row += kAtOnce * blockDim.y) {
    Pack<T, width> packs[kAtOnce];
#pragma unroll
    for (int step = 0; step < kAtOnce; ++step) {
      const int64_t at = row + step * blockDim.y;
      packs[step] = at < end ? load_pack<width>(column + at * stride) : Pack<T, width>{};
    }
#pragma unroll
    for (int step = 0; step < kAtOnce; ++step) {
      const auto values = to_floats(packs[step]);
#pragma unroll
      for (int i = 0; i < width; ++i) total[i] += values[i];
    }
  }
  return total;
}

/// The same over all rows; it arrives in group 0.  All threads call it, those beyond the last column with no
/// rows.
template <int width, typename T>
__device__ __forceinline__ Floats<width> sum_of_rows(const T* column, int64_t stride, int64_t first,
                                                     int64_t end) {
  auto total = sum_of_my_rows<width>(column, stride, first, end);
  add_over_groups(total);
  return total;
}

/// The second stage runs in blocks of this many columns by this many threads for each.
inline constexpr int kPartColumns = 16, kPartThreads = 32;

inline LaunchShape shape_for_parts(std::string_view name, int64_t columns) {
  return {.name = name, .grid = {ceil_div(columns, kPartColumns)}, .block = {kPartColumns, kPartThreads}};
}
__device__ __forceinline__ int64_t column_of_parts() {
  return int64_t{blockIdx.x} * kPartColumns + threadIdx.x;
}

struct PartSums;  // names one array for all sums of a kernel

/// Σ value(part) for the column of this thread; the same for all its threads.  All threads of the block call
/// it, those beyond the last column with no parts.
template <typename Value>
__device__ double sum_of_parts(int64_t parts, Value value) {
  auto& sums = shared<double[kPartThreads][kPartColumns], PartSums>();
  double sum = 0.0;
#pragma unroll 4
  for (int64_t part = threadIdx.y; part < parts; part += kPartThreads) sum += value(part);
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  double total = 0.0;
#pragma unroll 8
  for (int i = 0; i < kPartThreads; ++i) total += sums[i][threadIdx.x];
  __syncthreads();  // the array may be used again
  return total;
}

}  // namespace scrawl::SCRAWL_GPU
