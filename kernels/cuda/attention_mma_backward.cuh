#pragma once
// Attention backward on tensor cores (bf16), probabilities recomputed.  dS = P (dP − mean of dP under P), and
// a first kernel, built like the forward one, finds the means.  They equal Σ dy · y, but y is rounded to
// bf16: where one key takes nearly all, hardly more than that rounding would remain of dS. The second kernel
// does the rest.  A block holds up to 128 keys (and values) of one head and walks over chunks of 64 queries,
// the next chunk on its way while this one is computed:
//   1. a warp owns 16 keys.  It computes Sᵀ = K Qᵀ and dPᵀ = V dYᵀ transposed, so that Pᵀ and dSᵀ are at once
//      left operands of dV += Pᵀ dY and dK += dSᵀ Q, which stay in registers for all chunks; dSᵀ goes to
//      shared memory.  Few keys leave warps over: these take a share of the chunk's queries.
//   2. dQ = dS K, warps by tiles of 16 queries × columns.
// Blocks are heads × blocks of keys × parts of queries.  Parts leave partial sums of dK and dV, blocks of
// keys partial sums of dQ, which the caller adds in order; where there is one part or block the result is
// direct. Cost: 5 products; q, y, dy are read and dq is written once for each block of keys.  Limits: as
// forward.
#include "kernels/cuda/attention_mma_forward.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kBlockKeys = 128;
inline constexpr int kChunkQueries = 64;

/// Shared memory of a block.
template <int D, bool keys_are_values>
struct BackwardShared {
  static constexpr int kStride = D + kRowPadding;
  static constexpr int kScoreStride = kChunkQueries + kRowPadding;
  bf16 k[kBlockKeys * kStride];
  bf16 v[keys_are_values ? 8 : kBlockKeys * kStride];
  bf16 q[2][kChunkQueries * kStride], dy[2][kChunkQueries * kStride];
  bf16 ds[kBlockKeys * kScoreStride];  // transposed: a row for each key
  float shift[2][kChunkQueries];       // log₂ Σ e^s; infinite where there is no query
  float mean[2][kChunkQueries];        // of dP under P
  BackwardHead<bf16> head;             // here, since registers are full of sums
  int list[4];                         // and more behind it

  __device__ const bf16* values() const { return keys_are_values ? k : v; }
};

/// Queries [first, end) of a head in chunks.
template <int D, bool keys_are_values>
__device__ void start_chunk(BackwardShared<D, keys_are_values>& memory, int buffer,
                            const BackwardHead<bf16>& head, int first, int end) {
  const int count = min(kChunkQueries, end - first);
  const auto row_of = [=](int i) { return int64_t{first + i}; };
  copy_rows<D>(memory.q[buffer], head.q, head.q_stride, count, kChunkQueries, head.size, row_of);
  copy_rows<D>(memory.dy[buffer], head.dy, head.y_stride, count, kChunkQueries, head.size, row_of);
  commit_copies();

  const int i = threadIdx.x;
  if (i >= kChunkQueries) return;
  memory.shift[buffer][i] = i < count ? head.log_sum_exp[first + i] * kLog2E : __int_as_float(0x7F800000);
  memory.mean[buffer][i] = i < count ? head.mean[first + i] : 0.0f;
}

/// Gradients of a warp's 16 keys; where keys are the values, their sum.
template <int D, bool keys_are_values>
struct KeySums {
  FragmentD dk[D / 8], separate_dv[keys_are_values ? 1 : D / 8];

  __device__ __forceinline__ FragmentD& dv(int i) {
    if constexpr (keys_are_values)
      return dk[i];
    else
      return separate_dv[i];
  }
};

/// Step 1 for 16 queries, `at` within the chunk, and the 16 keys from `key` on, of which `count` exist.
template <int D, bool keys_are_values>
__device__ __forceinline__ void add_queries(BackwardShared<D, keys_are_values>& memory, int buffer, int at,
                                            int key, int count, float scale,
                                            KeySums<D, keys_are_values>& sums) {
  constexpr int kStride = BackwardShared<D, keys_are_values>::kStride;
  const bf16* q = memory.q[buffer] + at * kStride;
  const bf16* dy = memory.dy[buffer] + at * kStride;
  FragmentD s[2], dp[2];
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
    const FragmentA keys = load_a(memory.k + key * kStride + 16 * i, kStride);
    const FragmentPairB queries = load_pair_transposed(q + 16 * i, kStride);
    mma(s[0], keys, queries.b[0]);
    mma(s[1], keys, queries.b[1]);
    const FragmentA values =
        keys_are_values ? keys : load_a(memory.values() + key * kStride + 16 * i, kStride);
    const FragmentPairB gradients = load_pair_transposed(dy + 16 * i, kStride);
    mma(dp[0], values, gradients.b[0]);
    mma(dp[1], values, gradients.b[1]);
  }
#pragma unroll
  for (int j = 0; j < 2; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int query = at + 8 * j + FragmentD::column(i);
      const float p = FragmentD::row(i) < count
                          ? fast_exp2(s[j].values[i] * (scale * kLog2E) - memory.shift[buffer][query])
                          : 0.0f;
      s[j].values[i] = p;
      dp[j].values[i] = p * (dp[j].values[i] - memory.mean[buffer][query]);
    }
  const FragmentA p = as_a(s[0], s[1]), ds = as_a(dp[0], dp[1]);
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
    const FragmentPairB gradients = load_pair(dy + 16 * i, kStride);
    mma(sums.dv(2 * i), p, gradients.b[0]);
    mma(sums.dv(2 * i + 1), p, gradients.b[1]);
    const FragmentPairB queries = load_pair(q + 16 * i, kStride);
    mma(sums.dk[2 * i], ds, queries.b[0]);
    mma(sums.dk[2 * i + 1], ds, queries.b[1]);
  }
  // A word of A holds two neighbouring queries of one key.
  const int row = lane_index() / 4, column = lane_index() % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    *reinterpret_cast<unsigned*>(memory.ds +
                                 (key + row + i % 2 * 8) * BackwardShared<D, keys_are_values>::kScoreStride +
                                 at + column + i / 2 * 8) = ds.words[i];
}

/// Step 2 for the chunk that starts at query `first`.  `first_keys`: no other keys have added to dq yet.
template <int D, bool keys_are_values>
__device__ void add_query_gradients(const BackwardShared<D, keys_are_values>& memory,
                                    const BackwardHead<bf16>& head, int keys, int first, int end,
                                    bool first_keys) {
  constexpr int kStride = BackwardShared<D, keys_are_values>::kStride;
  constexpr int kScoreStride = BackwardShared<D, keys_are_values>::kScoreStride;
  constexpr int kTiles = kChunkQueries / 16, kColumns = D < 64 ? 32 : D / 2;
  const int tile = warp_index() % kTiles * 16, column = warp_index() / kTiles * kColumns;
  if (column >= head.size || first + tile >= end) return;
  FragmentD dq[kColumns / 8];
#pragma unroll 1  // registers are full of the sums of step 1
  for (int key = 0; key < keys; key += 16) {
    const FragmentA ds = load_a_transposed(memory.ds + key * kScoreStride + tile, kScoreStride);
#pragma unroll
    for (int i = 0; i < kColumns / 16; ++i) {
      const FragmentPairB k = load_pair(memory.k + key * kStride + column + 16 * i, kStride);
      mma(dq[2 * i], ds, k.b[0]);
      mma(dq[2 * i + 1], ds, k.b[1]);
    }
  }
  for_packs<kColumns / 8>(
      dq, [&](int) { return head.scale; },
      [&](int r, int c, Floats<8>& values) {
        const int64_t row = first + tile + r;
        if (row >= end || column + c >= head.size) return;
        const int64_t at = row * head.q_stride + column + c;
        if (!keys_are_values && head.dq_partial) return store<8>(head.dq_partial + at, values);
        if (keys_are_values && head.dq_more && first_keys)
          add_stored(values, head.dq_more + row * head.y_stride + column + c);
        if (head.accumulate_dq || !first_keys) add_stored(values, head.dq + at);
        store<8>(head.dq + at, values);
      });
}

/// Adds up the sums of warps that share their keys, group by group; they arrive in group 0.
template <int D>
__device__ void add_groups(FragmentD* d, float* memory, int tiles, int tile, int group, int groups) {
  constexpr int kWarpFloats = D / 8 * 4 * kWarpSize;
  __syncthreads();  // the memory has served others
  if (group > 0 && group < groups) {
    float* mine = memory + ((group - 1) * tiles + tile) * kWarpFloats + lane_index();
#pragma unroll
    for (int i = 0; i < D / 2; ++i) mine[i * kWarpSize] = d[i / 4].values[i % 4];
  }
  __syncthreads();
  if (group == 0)
    for (int other = 1; other < groups; ++other) {
      const float* theirs = memory + ((other - 1) * tiles + tile) * kWarpFloats + lane_index();
#pragma unroll
      for (int i = 0; i < D / 2; ++i) d[i / 4].values[i % 4] += theirs[i * kWarpSize];
    }
}

/// Stores gradients of the 16 keys from `key` of the head on.
template <int D>
__device__ void store_key_gradients(const FragmentD* d, const BackwardHead<bf16>& head, int key, float scale,
                                    float* partial, bf16* direct, bool accumulate) {
  for_packs<D / 8>(
      d, [&](int) { return scale; },
      [&](int row, int column, Floats<8>& values) {
        if (key + row >= head.keys || column >= head.size) return;
        const int64_t at = int64_t{head.row_of_key(key + row)} * head.kv_stride + column;
        if (partial) return store<8>(partial + at, values);
        if (accumulate) add_stored(values, direct + at);
        store<8>(direct + at, values);
      });
}

/// Sums of 16 queries, a lane's share: Σ p · dp and Σ p over its columns of scores.
template <int D>
struct MeanSums {
  RowsA<D> q, dy;
  float shift[2], weighted[2] = {}, total[2] = {};  // of rows lane / 4 and lane / 4 + 8

  __device__ void load(const BackwardHead<bf16>& head, int64_t first) {
    const int rows = static_cast<int>(head.queries - first);
    q.load(head.q + first * head.q_stride, head.q_stride, rows, head.size, nullptr, 0);
    dy.load(head.dy + first * head.y_stride, head.y_stride, rows, head.size, nullptr, 0);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane_index() / 4 + 8 * half;
      shift[half] = row < rows ? head.log_sum_exp[first + row] * kLog2E : 0.0f;
    }
  }
  /// 16 keys, of which `count` exist.
  __device__ __forceinline__ void add(const bf16* k, const bf16* v, int count, float log2_scale) {
    constexpr int kStride = D + kRowPadding;
    FragmentD s[2], dp[2];
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const FragmentPairB keys = load_pair_transposed(k + 16 * i, kStride);
      mma(s[0], q.a[i], keys.b[0]);
      mma(s[1], q.a[i], keys.b[1]);
      const FragmentPairB values = k == v ? keys : load_pair_transposed(v + 16 * i, kStride);
      mma(dp[0], dy.a[i], values.b[0]);
      mma(dp[1], dy.a[i], values.b[1]);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool exists = 8 * j + FragmentD::column(i) < count;
        const float p = exists ? fast_exp2(s[j].values[i] * log2_scale - shift[i / 2]) : 0.0f;
        weighted[i / 2] += p * dp[j].values[i];
        total[i / 2] += p;
      }
  }
  /// Dividing by Σ p makes up for what log Σ exp of large scores lacks in digits.
  __device__ void store(const BackwardHead<bf16>& head, int64_t first) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float mean = warp_sum<4>(weighted[half]) / warp_sum<4>(total[half]);
      const int64_t row = first + lane_index() / 4 + 8 * half;
      if (lane_index() % 4 == 0 && row < head.queries) head.mean[row] = mean;
    }
  }
};

template <int D, typename Source>
__global__ void __launch_bounds__(kAttentionThreads) attend_means_mma(Source source, ForwardPlan plan) {
  constexpr int kStride = D + kRowPadding;
  bf16* const k = dynamic_shared<bf16>();
  bf16* const v = Source::kKeysAreValues ? k : k + plan.panel_keys * kStride;
  int* const list = reinterpret_cast<int*>(dynamic_shared<unsigned char>() + plan.list_offset);
  const BackwardHead<bf16> head = source.head(blockIdx.x / plan.blocks, 0, list);
  for (int pass = 0; pass < plan.passes; ++pass) {
    const int64_t tile = blockIdx.x % plan.blocks * plan.passes + pass;
    const int64_t first = (tile * plan.warps + warp_index()) * 16;
    const bool active = first < head.queries;
    MeanSums<D> sums;
    if (active) sums.load(head, first);
    for (int begin = 0; begin < head.keys; begin += plan.panel_keys) {
      const int count = min(plan.panel_keys, head.keys - begin);
      if (pass == 0 || head.keys > plan.panel_keys) load_keys<D>(k, v, head, begin, count);
      for (int at = 0; active && at < count; at += 16)
        sums.add(k + at * kStride, v + at * kStride, count - at, head.scale * kLog2E);
    }
    if (active) sums.store(head, first);
  }
}

struct BackwardPlan {
  QueryParts parts;
  int key_blocks = 1;  // that the grid has; a block takes every key_blocks-th block of keys
};

template <int D, typename Source>
__global__ void __launch_bounds__(kAttentionThreads, D <= 64 ? 2 : 1)
    attend_backward_mma(Source source, BackwardPlan plan) {
  constexpr bool kOne = Source::kKeysAreValues;
  constexpr int kWarps = kAttentionThreads / kWarpSize;
  auto& memory = *dynamic_shared<BackwardShared<D, kOne>>();
  const int part = blockIdx.x % plan.parts.count;
  const int grid_block = static_cast<int>(blockIdx.x / plan.parts.count % plan.key_blocks);
  const int64_t index = blockIdx.x / plan.parts.count / plan.key_blocks;
  const BackwardHead<bf16> made = source.head(index, grid_block, memory.list);
  if (threadIdx.x == 0) memory.head = made;
  __syncthreads();
  const BackwardHead<bf16>& head = memory.head;
  const int begin = part * plan.parts.queries, end = min(begin + plan.parts.queries, head.queries);

  for (int key_block = grid_block; key_block == grid_block || key_block * kBlockKeys < head.keys;
       key_block += plan.key_blocks) {
    const int first_key = key_block * kBlockKeys, keys = min(kBlockKeys, head.keys - first_key);
    const int tiles = (keys + 15) / 16;
    const int groups = tiles > 0 ? min(kWarps / tiles, kChunkQueries / 16) : 0;
    const int tile = tiles > 0 ? warp_index() % tiles : 0, group = tiles > 0 ? warp_index() / tiles : 0;
    const auto row_of = [&](int j) { return int64_t{head.row_of_key(first_key + j)}; };
    __syncthreads();  // nobody reads the block of keys before any more
    copy_rows<D>(memory.k, head.k, head.kv_stride, keys, 16 * tiles, head.size, row_of);
    if (!kOne) copy_rows<D>(memory.v, head.v, head.kv_stride, keys, 16 * tiles, head.size, row_of);
    start_chunk(memory, 0, head, begin, end);

    KeySums<D, kOne> sums;
    int buffer = 0;
    for (int first = begin; first < end; first += kChunkQueries, buffer ^= 1) {
      wait_copies();
      __syncthreads();
      if (first + kChunkQueries < end) start_chunk(memory, buffer ^ 1, head, first + kChunkQueries, end);
      __syncwarp();  // fragments are loaded by whole warps
      if (group < groups)
#pragma unroll 1
        for (int at = 16 * group; at < kChunkQueries; at += 16 * groups)
          add_queries(memory, buffer, at, 16 * tile, keys - 16 * tile, head.scale, sums);
      __syncthreads();
      add_query_gradients(memory, head, keys, first, end, key_block == 0 || head.dq_partial);
    }
    wait_copies();  // of a head without queries
    if (groups > 1) {
      float* const free = reinterpret_cast<float*>(memory.q);
      add_groups<D>(sums.dk, free, tiles, tile, group, groups);
      if (!kOne) add_groups<D>(sums.separate_dv, free, tiles, tile, group, groups);
    }
    if (group == 0 && tiles > 0) {
      const int key = first_key + 16 * tile;
      const KeyTargets<bf16> targets = source.key_targets(index, part);
      store_key_gradients<D>(sums.dk, head, key, head.scale, targets.dk_partial, targets.dk,
                             targets.accumulate);
      if (!kOne)
        store_key_gradients<D>(sums.separate_dv, head, key, 1.0f, targets.dv_partial, targets.dv,
                               targets.accumulate);
    }
  }
}

/// Shared memory that a block needs; `list_entries` of room for the list.
inline int64_t backward_shared_bytes(int size, bool keys_are_values, int list_entries) {
  int64_t bytes = 0;
  with_padded_size(size, [&](auto padded) {
    bytes = keys_are_values ? sizeof(BackwardShared<padded, true>) : sizeof(BackwardShared<padded, false>);
  });
  return bytes + int64_t{4} * std::max(0, list_entries - 4);
}

/// `keys` is the most that a head may have.
template <typename Source>
void launch_attend_backward_mma(Queue& queue, std::string_view name, const Source& source, int64_t heads,
                                int queries, int keys, const BackwardPlan& plan, int size, int list_entries) {
  with_padded_size(size, [&](auto padded) {
    const ForwardPlan means(heads, queries, keys, padded, Source::kKeysAreValues ? 1 : 2, list_entries,
                            shared_memory_limit(queue));
    launch(queue, means.shape(name, heads), attend_means_mma<padded, Source>, source, means);
    launch(queue,
           {.name = name,
            .grid = {heads * plan.key_blocks * plan.parts.count},
            .block = {kAttentionThreads},
            .shared_bytes = backward_shared_bytes(size, Source::kKeysAreValues, list_entries)},
           attend_backward_mma<padded, Source>, source, plan);
  });
}

}  // namespace scrawl::SCRAWL_GPU
