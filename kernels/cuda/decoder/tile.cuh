#pragma once
// One block's tile, 32 × 64, of a product of fp32 matrices, in fp32.  Panels of 32 terms of both factors come
// by asynchronous copies, as they lie in memory: a factor whose terms are neighbours is kept row by row, the
// other kind term by term, and a thread reads 16 bytes of either at a time, for four terms of all that it
// multiplies.  Each pair of warps holds the whole tile, 4 × 8 results a thread, for a quarter of every
// panel's terms, so that few tiles still are many threads; in the end the four shares are added in order.
// Cost: 12 loads of 16 bytes from shared memory for 128 multiplications of a thread.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kTileRows = 32, kTileColumns = 64, kTileThreads = 256;
inline constexpr int kTileTerms = 32;  // of a panel
inline constexpr int kTileStep = 4;    // terms that a thread reads at once
inline constexpr int kTileShares = 4;  // of a panel's terms
inline constexpr int kTileStages = 3;  // of panels, on their way or in use
inline constexpr int kTileSide = 8;    // threads of a share down a tile, and across
static_assert(kTileSide * kTileSide * kTileShares == kTileThreads &&
              kTileTerms % (kTileShares * kTileStep) == 0);

/// A factor: rows (the columns of a product's second factor count as its rows) of terms.
struct TileFactor {
  const float* data = nullptr;
  int64_t ld = 0;  // from one line to the next: a row, or a term of all rows
  int rows = 0;
  bool packed = false;  // lines are whole packs of four, aligned
};

/// A stage of a factor: `rows` rows of kTileTerms terms.  `by_rows`: a line is a row.
template <int rows, bool by_rows>
class Panel {
  static constexpr int kLines = by_rows ? rows : kTileTerms, kLength = by_rows ? kTileTerms : rows;
  static constexpr int kStride = by_rows ? kTileTerms + 4 : rows;  // threads then read different banks
  static constexpr int kMine = rows / kTileSide;

 public:
  /// Which row is the i-th of a thread.
  __device__ static int row(int thread, int i) {
    return by_rows ? thread + kTileSide * i : i / 4 * 4 * kTileSide + 4 * thread + i % 4;
  }

  /// Starts copies from the given row and term on; zeros beyond the ends.
  __device__ __forceinline__ void start(const TileFactor& factor, int first_row, int first_term, int terms) {
    const int line_base = by_rows ? first_row : first_term, lines = by_rows ? factor.rows : terms;
    const int base = by_rows ? first_term : first_row, length = by_rows ? terms : factor.rows;
#pragma unroll
    for (int i = 0; i < rows * kTileTerms / 4 / kTileThreads; ++i) {
      const int index = i * kTileThreads + threadIdx.x, line = index / (kLength / 4);
      const int at = index % (kLength / 4) * 4, from = base + at;
      const bool exists = line_base + line < lines && from < length;
      const float* source = exists ? factor.data + (line_base + line) * factor.ld + from : factor.data;
      float* const target = values_ + line * kStride + at;
      if (factor.packed)
        copy_async<16>(target, source, exists);
      else
        for (int j = 0; j < 4; ++j) {
          const bool is_there = exists && from + j < length;
          copy_async<4>(target + j, is_there ? source + j : factor.data, is_there);
        }
    }
  }

  /// Some terms of a thread's rows.
  struct Values {
    float of[kTileStep][kMine];
  };
  __device__ __forceinline__ Values read(int thread, int term) const {
    Values values;
    if constexpr (by_rows) {
#pragma unroll
      for (int i = 0; i < kMine; ++i) {
        const auto pack = load_pack<kTileStep>(values_ + row(thread, i) * kStride + term);
#pragma unroll
        for (int t = 0; t < kTileStep; ++t) values.of[t][i] = pack[t];
      }
    } else {
#pragma unroll
      for (int t = 0; t < kTileStep; ++t)
#pragma unroll
        for (int i = 0; i < kMine; i += 4) {
          const auto pack = load_pack<4>(values_ + (term + t) * kStride + row(thread, i));
#pragma unroll
          for (int j = 0; j < 4; ++j) values.of[t][i + j] = pack[j];
        }
    }
    return values;
  }

 private:
  alignas(16) float values_[kLines * kStride];
};

/// The shares of a tile, before they are added.
class TileShares {
  static constexpr int kStride = kTileColumns + 8;  // threads then write to different banks
  static constexpr int kPacks = kTileColumns / 4;

 public:
  __device__ float* at(int share, int row, int column) {
    return values_ + (share * kTileRows + row) * kStride + column;
  }
  /// Calls write(row, column, four sums) for all packs of the tile.
  template <typename Write>
  __device__ __forceinline__ void add(Write write) {
#pragma unroll
    for (int i = 0; i < kTileRows * kPacks / kTileThreads; ++i) {
      const int index = i * kTileThreads + threadIdx.x, row = index / kPacks, column = index % kPacks * 4;
      auto sum = load<4>(at(0, row, column));
#pragma unroll
      for (int share = 1; share < kTileShares; ++share) {
        const auto other = load<4>(at(share, row, column));
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[j] += other[j];
      }
      write(row, column, sum);
    }
  }

 private:
  alignas(16) float values_[kTileShares * kTileRows * kStride];
};

/// Of dynamic shared memory, for every kind of product.
inline constexpr int64_t kTileBytes = std::max<int64_t>(
    kTileStages * (sizeof(Panel<kTileRows, true>) + sizeof(Panel<kTileColumns, true>)), sizeof(TileShares));

/// Calls write(row, column, four results of the tile) once for all packs of the tile a bᵀ at (row, column),
/// each by one thread.  All threads of the block call it, once.
template <bool a_by_rows, bool b_by_rows, typename Write>
__device__ __forceinline__ void multiply_tile(const TileFactor& a, const TileFactor& b, int terms, int row,
                                              int column, Write write) {
  using PanelA = Panel<kTileRows, a_by_rows>;
  using PanelB = Panel<kTileColumns, b_by_rows>;
  auto* const panels_a = dynamic_shared<PanelA>();
  auto* const panels_b = reinterpret_cast<PanelB*>(panels_a + kTileStages);
  const int panels = (terms + kTileTerms - 1) / kTileTerms;
  const auto start = [&](int panel) {
    if (panel < panels) {
      panels_a[panel % kTileStages].start(a, row, panel * kTileTerms, terms);
      panels_b[panel % kTileStages].start(b, column, panel * kTileTerms, terms);
    }
    commit_copies();
  };

  const int share = threadIdx.x / (kTileSide * kTileSide);
  const int down = threadIdx.x / kTileSide % kTileSide, across = threadIdx.x % kTileSide;
  constexpr int kRows = kTileRows / kTileSide, kColumns = kTileColumns / kTileSide;
  float sums[kRows][kColumns] = {};
  for (int panel = 0; panel < kTileStages - 1; ++panel) start(panel);
  for (int panel = 0; panel < panels; ++panel) {
    wait_copies<kTileStages - 2>();
    __syncthreads();  // the panel has arrived, and the one before it has been read
    start(panel + kTileStages - 1);
#pragma unroll
    for (int step = 0; step < kTileTerms / kTileShares; step += kTileStep) {
      const int term = share * (kTileTerms / kTileShares) + step;
      const auto of_a = panels_a[panel % kTileStages].read(down, term);
      const auto of_b = panels_b[panel % kTileStages].read(across, term);
#pragma unroll
      for (int t = 0; t < kTileStep; ++t)
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kColumns; ++j) sums[i][j] += of_a.of[t][i] * of_b.of[t][j];
    }
  }
  wait_copies();
  __syncthreads();

  auto& shares = *dynamic_shared<TileShares>();
#pragma unroll
  for (int i = 0; i < kRows; ++i)
#pragma unroll
    for (int j = 0; j < kColumns; j += b_by_rows ? 1 : 4) {
      float* const to = shares.at(share, PanelA::row(down, i), PanelB::row(across, j));
      if constexpr (b_by_rows)
        *to = sums[i][j];
      else
        store<4>(to, Floats<4>{{sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]}});
    }
  __syncthreads();
  shares.add(write);
}

}  // namespace scrawl::SCRAWL_GPU
