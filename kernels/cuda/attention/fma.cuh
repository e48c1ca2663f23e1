#pragma once
// Attention by plain multiply-adds: for fp32, and for head sizes that matrix fragments don't fit.  Tiles of
// 64 queries × 64 keys, a thread computes 4 × 4 scores; rows come to shared memory by slabs of 32 values,
// keys stream by in tiles, so any number of keys will do.  Three kernels of the same building blocks:
//   forward       a block owns 64 queries; running maximum and sum
//   dQ            a block owns 64 queries; first finds the means of dP under P
//   dK and dV     a block owns 64 keys and a part of the queries, all transposed
// Cost: 2 products forward; backward 7, or 9 for more than 64 keys, since scores are recomputed rather than
// partial sums of dQ stored.  Limits: head sizes up to 512, 128 where values are not the keys (registers hold
// the outputs).
#include <stdexcept>
#include <string>

#include "kernels/cuda/attention/head.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kFmaTile = 64, kFmaSlab = 32;
inline constexpr int kFmaSide = 16;                     // threads along each side of a tile
inline constexpr int kFmaValues = kFmaTile / kFmaSide;  // rows or columns of a thread: every kFmaSide-th

/// 16-byte loads of rows that follow one another meet no bank conflicts.
using Slab = float[kFmaTile][kFmaSlab + 4];
using Scores = float[kFmaTile][kFmaTile + 4];

struct TileThread {
  int row = threadIdx.x / kFmaSide, column = threadIdx.x % kFmaSide;
};

/// Columns [first, first + kFmaSlab) of `count` rows; what does not exist is zero.
template <typename T, typename RowOf>
__device__ void load_slab(Slab& slab, const T* source, int stride, int count, int first, int size,
                          RowOf row_of) {
  const int column = threadIdx.x % kFmaSlab;
  for (int row = threadIdx.x / kFmaSlab; row < kFmaTile; row += kAttentionThreads / kFmaSlab)
    slab[row][column] =
        row < count && first + column < size ? as_float(source[row_of(row) * stride + first + column]) : 0.0f;
}

/// sum[i][j] += row i of a · row j of b, over the slab's first `width` columns.
__device__ __forceinline__ void add_row_products(float (&sum)[kFmaValues][kFmaValues], const Slab& a,
                                                 const Slab& b, int width) {
  const TileThread me;
#pragma unroll 1
  for (int c = 0; c < width; c += 4) {
    Floats<4> x[kFmaValues], y[kFmaValues];
#pragma unroll
    for (int i = 0; i < kFmaValues; ++i) {
      x[i] = load<4>(&a[me.row + kFmaSide * i][c]);
      y[i] = load<4>(&b[me.column + kFmaSide * i][c]);
    }
#pragma unroll
    for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
      for (int j = 0; j < kFmaValues; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k) sum[i][j] += x[i][k] * y[j][k];
  }
}

/// Outputs of a thread: its rows × two columns of every slab.
template <int slabs>
struct Outputs {
  float values[slabs][kFmaValues][2] = {};

  /// Adds scores [rows, count] · slab [count, 32] to the columns of `slab`.
  __device__ __forceinline__ void add(int index, const Scores& scores, const Slab& slab, int count) {
    const TileThread me;
#pragma unroll 1
    for (int k = 0; k < count; k += 4) {
      Floats<4> x[kFmaValues];
      Floats<2> y[4];
#pragma unroll
      for (int i = 0; i < kFmaValues; ++i) x[i] = load<4>(&scores[me.row + kFmaSide * i][k]);
#pragma unroll
      for (int j = 0; j < 4; ++j) y[j] = load<2>(&slab[k + j][2 * me.column]);
#pragma unroll
      for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          values[index][i][0] += x[i][j] * y[j][0];
          values[index][i][1] += x[i][j] * y[j][1];
        }
    }
  }
  __device__ __forceinline__ void scale_row(int i, float factor) {
#pragma unroll
    for (int slab = 0; slab < slabs; ++slab) {
      values[slab][i][0] *= factor;
      values[slab][i][1] *= factor;
    }
  }
  /// Calls body(row, column, value) for outputs whose column is below `size`.
  template <typename Body>
  __device__ __forceinline__ void for_each(int size, Body body) const {
    const TileThread me;
#pragma unroll
    for (int slab = 0; slab < slabs; ++slab)
#pragma unroll
      for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j)
          if (const int column = slab * kFmaSlab + 2 * me.column + j; column < size)
            body(me.row + kFmaSide * i, column, values[slab][i][j]);
  }
};

__device__ __forceinline__ void store_scores(Scores& scores, const float (&values)[kFmaValues][kFmaValues]) {
  const TileThread me;
#pragma unroll
  for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
    for (int j = 0; j < kFmaValues; ++j)
      scores[me.row + kFmaSide * i][me.column + kFmaSide * j] = values[i][j];
}

template <typename T>
__device__ __forceinline__ void store_value(T* target, float value, bool accumulate) {
  *target = as_storage<T>((accumulate ? as_float(*target) : 0.0f) + value);
}

/// What a block of these kernels shares.
struct FmaShared {
  Slab a, b;
  Scores scores;
  float shift[kFmaTile], mean[kFmaTile];  // log Σ e^s of queries (infinite where there is none), mean of dP
};

/// Rows of a tile: `count` of them from `first` on.
template <typename T>
struct TileRows {
  const AttentionRows<T>& rows;
  int first, count;
  __device__ int64_t query(int i) const { return first + i; }
  __device__ int64_t key(int j) const { return rows.row_of_key(first + j); }
};

/// products[i][j] = Σ a · b for tiles of rows a and b (own and other); slabs come and go.
template <typename A, typename B, typename RowA, typename RowB>
__device__ void tile_products(FmaShared& memory, float (&products)[kFmaValues][kFmaValues], const A* a,
                              int a_stride, int a_count, RowA row_a, const B* b, int b_stride, int b_count,
                              RowB row_b, int size) {
#pragma unroll
  for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
    for (int j = 0; j < kFmaValues; ++j) products[i][j] = 0.0f;
  for (int first = 0; first < size; first += kFmaSlab) {
    __syncthreads();  // nobody reads the slabs before any more
    load_slab(memory.a, a, a_stride, a_count, first, size, row_a);
    load_slab(memory.b, b, b_stride, b_count, first, size, row_b);
    __syncthreads();
    add_row_products(products, memory.a, memory.b, min(kFmaSlab, size - first));
  }
}

/// outputs += scores · rows, for scores [64, count] that were just put into shared memory.
template <int slabs, typename T, typename RowOf>
__device__ void add_rows(FmaShared& memory, Outputs<slabs>& outputs, const T* source, int stride, int count,
                         int size, RowOf row_of) {
#pragma unroll
  for (int slab = 0; slab < slabs; ++slab) {
    if (slab * kFmaSlab >= size) continue;
    __syncthreads();  // the scores are complete, and nobody reads the slab before any more
    load_slab(memory.b, source, stride, count, slab * kFmaSlab, size, row_of);
    __syncthreads();
    outputs.add(slab, memory.scores, memory.b, count);
  }
}

template <int slabs, typename T, typename Source>
__global__ void __launch_bounds__(kAttentionThreads, slabs == 2 ? 2 : 1)
    attend_fma(Source source, int64_t tiles) {
  auto& memory = shared<FmaShared, struct Memory>();
  const ForwardHead<T> head = source.head(blockIdx.x / tiles, dynamic_shared<int>());
  const int first = static_cast<int>(blockIdx.x % tiles) * kFmaTile,
            queries = min(kFmaTile, head.queries - first);
  const auto query = [=](int i) { return int64_t{first + i}; };
  Outputs<slabs> y;
  float top[kFmaValues], sum[kFmaValues], s[kFmaValues][kFmaValues];
#pragma unroll
  for (int i = 0; i < kFmaValues; ++i) {
    top[i] = __int_as_float(0xFF800000);  // −∞
    sum[i] = 0.0f;
  }

  for (int begin = 0; begin < head.keys; begin += kFmaTile) {
    const int keys = min(kFmaTile, head.keys - begin);
    const auto key = [&](int j) { return int64_t{head.row_of_key(begin + j)}; };
    tile_products(memory, s, head.q, head.q_stride, queries, query, head.k, head.kv_stride, keys, key,
                  head.size);
#pragma unroll
    for (int i = 0; i < kFmaValues; ++i) {
      float largest = top[i];
#pragma unroll
      for (int j = 0; j < kFmaValues; ++j) {
        s[i][j] =
            TileThread{}.column + kFmaSide * j < keys ? s[i][j] * head.scale : __int_as_float(0xFF800000);
        largest = Larger{}(largest, s[i][j]);
      }
      largest = warp_max<kFmaSide>(largest);
      const float keep = expf(top[i] - largest);
      float total = 0.0f;
#pragma unroll
      for (int j = 0; j < kFmaValues; ++j) total += s[i][j] = expf(s[i][j] - largest);
      sum[i] = sum[i] * keep + total;
      top[i] = largest;
      y.scale_row(i, keep);
    }
    store_scores(memory.scores, s);
    add_rows(memory, y, head.v, head.kv_stride, keys, head.size, key);
  }

#pragma unroll
  for (int i = 0; i < kFmaValues; ++i) {
    const float total = warp_sum<kFmaSide>(sum[i]);
    y.scale_row(i, total == 0.0f ? 0.0f : 1.0f / total);
    const int row = TileThread{}.row + kFmaSide * i;
    if (TileThread{}.column == 0 && row < queries)
      head.log_sum_exp[first + row] = total == 0.0f ? top[i] : top[i] + logf(total);
  }
  y.for_each(head.size, [&](int row, int column, float value) {
    if (row >= queries) return;
    const int64_t at = query(row) * head.y_stride + column;
    head.y[at] = as_storage<T>(value);
    if (head.q_copy) head.q_copy[at] = head.q[query(row) * head.q_stride + column];
  });
}

/// log Σ exp of the queries from `first` on.
template <typename T>
__device__ void load_shift(FmaShared& memory, const BackwardHead<T>& head, int first, int queries) {
  __syncthreads();  // nobody reads those before any more
  if (const int i = threadIdx.x; i < kFmaTile)
    memory.shift[i] = i < queries ? head.log_sum_exp[first + i] : __int_as_float(0x7F800000);
}

template <int slabs, typename T, typename Source>
__global__ void __launch_bounds__(kAttentionThreads, slabs == 2 ? 2 : 1)
    attend_backward_queries_fma(Source source, int64_t tiles) {
  auto& memory = shared<FmaShared, struct Memory>();
  const BackwardHead<T> head = source.head(blockIdx.x / tiles, 0, dynamic_shared<int>());
  const int first = static_cast<int>(blockIdx.x % tiles) * kFmaTile,
            queries = min(kFmaTile, head.queries - first);
  const auto query = [=](int i) { return int64_t{first + i}; };
  load_shift(memory, head, first, queries);
  const TileThread me;
  Outputs<slabs> dq;
  float p[kFmaValues][kFmaValues], dp[kFmaValues][kFmaValues], mean[kFmaValues] = {}, total[kFmaValues] = {};

  const auto load_tile = [&](int begin, int keys) {
    const auto key = [&](int j) { return int64_t{head.row_of_key(begin + j)}; };
    tile_products(memory, p, head.q, head.q_stride, queries, query, head.k, head.kv_stride, keys, key,
                  head.size);
    tile_products(memory, dp, head.dy, head.y_stride, queries, query, head.v, head.kv_stride, keys, key,
                  head.size);
#pragma unroll
    for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
      for (int j = 0; j < kFmaValues; ++j) {
        const bool exists = me.column + kFmaSide * j < keys;
        p[i][j] = exists ? expf(p[i][j] * head.scale - memory.shift[me.row + kFmaSide * i]) : 0.0f;
      }
  };
  for (int begin = 0; begin < head.keys; begin += kFmaTile) {
    load_tile(begin, min(kFmaTile, head.keys - begin));
#pragma unroll
    for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
      for (int j = 0; j < kFmaValues; ++j) {
        mean[i] += p[i][j] * dp[i][j];
        total[i] += p[i][j];
      }
  }
#pragma unroll
  for (int i = 0; i < kFmaValues; ++i) {
    mean[i] = warp_sum<kFmaSide>(mean[i]) / warp_sum<kFmaSide>(total[i]);  // Σ p is 1 but for rounding
    const int row = me.row + kFmaSide * i;
    if (me.column == 0 && row < queries) head.mean[first + row] = mean[i];
  }
  for (int begin = 0; begin < head.keys; begin += kFmaTile) {
    const int keys = min(kFmaTile, head.keys - begin);
    if (head.keys > kFmaTile) load_tile(begin, keys);  // else it is still here
#pragma unroll
    for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
      for (int j = 0; j < kFmaValues; ++j) p[i][j] *= (dp[i][j] - mean[i]) * head.scale;
    store_scores(memory.scores, p);
    add_rows(memory, dq, head.k, head.kv_stride, keys, head.size,
             [&](int j) { return int64_t{head.row_of_key(begin + j)}; });
  }

  dq.for_each(head.size, [&](int row, int column, float value) {
    if (row >= queries) return;
    if (head.dq_more) value += as_float(head.dq_more[query(row) * head.y_stride + column]);
    store_value(head.dq + query(row) * head.dq_stride + column, value, head.accumulate_dq);
  });
}

template <int slabs, typename T, typename Source>
__global__ void __launch_bounds__(kAttentionThreads, slabs == 2 ? 2 : 1)
    attend_backward_keys_fma(Source source, int64_t tiles, QueryParts parts) {
  constexpr bool kOne = Source::kKeysAreValues;
  auto& memory = shared<FmaShared, struct Memory>();
  const int part = blockIdx.x % parts.count;
  const int64_t index = blockIdx.x / parts.count / tiles;
  const BackwardHead<T> head = source.head(index, 0, dynamic_shared<int>());
  const int first = static_cast<int>(blockIdx.x / parts.count % tiles) * kFmaTile;
  if (first >= head.keys) return;
  const int keys = min(kFmaTile, head.keys - first), end = min((part + 1) * parts.queries, head.queries);
  const auto key = [&](int j) { return int64_t{head.row_of_key(first + j)}; };
  const TileThread me;
  Outputs<slabs> dk, separate_dv;  // the latter unused where keys are values
  Outputs<slabs>& dv = kOne ? dk : separate_dv;
  float s[kFmaValues][kFmaValues], dp[kFmaValues][kFmaValues];

  for (int begin = part * parts.queries; begin < end; begin += kFmaTile) {
    const int queries = min(kFmaTile, end - begin);
    const auto query = [=](int i) { return int64_t{begin + i}; };
    load_shift(memory, head, begin, queries);
    if (const int i = threadIdx.x; i < queries) memory.mean[i] = head.mean[begin + i];
    tile_products(memory, s, head.k, head.kv_stride, keys, key, head.q, head.q_stride, queries, query,
                  head.size);
    tile_products(memory, dp, head.v, head.kv_stride, keys, key, head.dy, head.y_stride, queries, query,
                  head.size);
#pragma unroll
    for (int i = 0; i < kFmaValues; ++i)
#pragma unroll
      for (int j = 0; j < kFmaValues; ++j) {
        const int column = me.column + kFmaSide * j;
        const float p = expf(s[i][j] * head.scale - memory.shift[column]);
        s[i][j] = p;
        dp[i][j] = column < queries ? p * (dp[i][j] - memory.mean[column]) * head.scale : 0.0f;
      }
    store_scores(memory.scores, s);
    add_rows(memory, dv, head.dy, head.y_stride, queries, head.size, query);
    __syncthreads();  // nobody reads P any more
    store_scores(memory.scores, dp);
    add_rows(memory, dk, head.q, head.q_stride, queries, head.size, query);
  }

  const KeyTargets<T> targets = source.key_targets(index, part);
  const auto store_all = [&](const Outputs<slabs>& outputs, float* partial, T* direct) {
    outputs.for_each(head.size, [&](int row, int column, float value) {
      if (row >= keys) return;
      const int64_t at = key(row) * head.kv_stride + column;
      if (partial)
        partial[at] = value;
      else
        store_value(direct + at, value, targets.accumulate);
    });
  };
  store_all(dk, targets.dk_partial, targets.dk);
  if (!kOne) store_all(separate_dv, targets.dv_partial, targets.dv);
}

/// Calls body(std::integral_constant<int, slabs>) with enough slabs for rows of `size`.
template <bool keys_are_values, typename Body>
void with_slabs(std::string_view name, int size, Body body) {
  if (size <= 2 * kFmaSlab) return body(std::integral_constant<int, 2>{});
  if (size <= 4 * kFmaSlab) return body(std::integral_constant<int, 4>{});
  if constexpr (keys_are_values)
    if (size <= 16 * kFmaSlab) return body(std::integral_constant<int, 16>{});
  throw std::invalid_argument(std::string(name) + ": rows of at most " +
                              std::to_string(keys_are_values ? 16 * kFmaSlab : 4 * kFmaSlab) +
                              " values, got " + std::to_string(size));
}

template <typename T, typename Source>
void launch_attend_fma(Queue& queue, std::string_view name, const Source& source, int64_t heads, int queries,
                       int size, int list_entries) {
  with_slabs<Source::kKeysAreValues>(name, size, [&](auto slabs) {
    const int64_t tiles = ceil_div(queries, kFmaTile);
    launch(queue,
           {.name = name,
            .grid = {heads * tiles},
            .block = {kAttentionThreads},
            .shared_bytes = int64_t{4} * list_entries},
           attend_fma<slabs, T, Source>, source, tiles);
  });
}

/// `keys` is the most that a head may have.
template <typename T, typename Source>
void launch_attend_backward_fma(Queue& queue, std::string_view name, const Source& source, int64_t heads,
                                int queries, int keys, const QueryParts& parts, int size, int list_entries) {
  with_slabs<Source::kKeysAreValues>(name, size, [&](auto slabs) {
    const int64_t query_tiles = ceil_div(queries, kFmaTile), key_tiles = ceil_div(keys, kFmaTile);
    const auto shape = [&](int64_t blocks) {
      return LaunchShape{.name = name,
                         .grid = {blocks},
                         .block = {kAttentionThreads},
                         .shared_bytes = int64_t{4} * list_entries};
    };
    launch(queue, shape(heads * query_tiles), attend_backward_queries_fma<slabs, T, Source>, source,
           query_tiles);
    launch(queue, shape(heads * key_tiles * parts.count), attend_backward_keys_fma<slabs, T, Source>, source,
           key_tiles, parts);
  });
}

}  // namespace scrawl::SCRAWL_GPU
