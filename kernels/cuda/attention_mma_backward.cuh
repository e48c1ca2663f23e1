#pragma once
// Attention backward on tensor cores (bf16), probabilities recomputed.  dS = P (dP − mean of dP under P).  A
// block holds up to 128 keys (and values) of one head and walks over chunks of 64 queries (32 for large
// heads), the next chunk on its way while this one is computed:
//   1. means.  They equal Σ dy · y (FlashAttention, Dao et al. 2022): a thread multiplies the pieces of dy
//   and
//      y that it copied itself, so that no barrier is needed.  But y is rounded to bf16, which is much where
//      scores are not scaled and one key takes nearly all; so where keys are the values, and few, means come
//      from scores.
//   2. a warp owns 16 keys.  It computes Sᵀ = K Qᵀ and dPᵀ = V dYᵀ transposed, so that Pᵀ and dSᵀ are at once
//      left operands of dV += Pᵀ dY and dK += dSᵀ Q, which stay in registers for all chunks; dSᵀ goes to
//      shared memory.  Few keys leave warps over: these take a share of the chunk's queries.
//   3. dQ = dS K, warps by tiles of 16 queries × 32 columns.
// Blocks are heads × parts of queries.  Parts leave partial sums of dK and dV, which the caller adds in
// order; where there is one part the result is direct. More than 128 keys: blocks of the grid take as many
// blocks of keys, without step 3, and dQ is left to attention_mma_query_gradients.cuh, since partial sums of
// it would be more to write and read than S and dP are to compute again.  Where the keys are a list whose
// length the host does not know, a block takes one block of keys after the other and adds to dq. Cost: 5
// products, 7 with more than 128 keys.  Limits: as forward.
#include "kernels/cuda/attention_fragments.cuh"
#include "kernels/cuda/attention_head.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kBlockKeys = 128;
template <int D>
inline constexpr int kChunkQueries = D <= 64 ? 64 : 32;  // so that two blocks share a multiprocessor

struct QueryStatistics {
  float shift;  // log₂ Σ e^s; infinite where there is no query
  float mean;   // of dP under P
};

/// Shared memory of a block.
template <int D, bool keys_are_values>
struct BackwardShared {
  static constexpr int kStride = D + kRowPadding;
  static constexpr int kQueries = kChunkQueries<D>;
  static constexpr int kScoreStride = kQueries + kRowPadding;
  bf16 k[kBlockKeys * kStride];
  bf16 v[keys_are_values ? 8 : kBlockKeys * kStride];
  bf16 q[2][kQueries * kStride], dy[2][kQueries * kStride];
  bf16 y[kQueries * kStride];
  bf16 ds[kBlockKeys * kScoreStride];  // transposed: a row for each key
  QueryStatistics queries[2][kQueries];
  BackwardHead<bf16> head;  // here, since registers are full of sums
  int list[4];              // and more behind it

  __device__ bool means_of_scores() const { return keys_are_values && head.keys <= kBlockKeys; }
};

/// Queries [first, end) of a head in chunks.
template <int D, bool keys_are_values>
__device__ void start_chunk(BackwardShared<D, keys_are_values>& memory, int buffer,
                            const BackwardHead<bf16>& head, int first, int end) {
  constexpr int kQueries = kChunkQueries<D>;
  const int count = min(kQueries, end - first);
  const auto row_of = [=](int i) { return int64_t{first + i}; };
  copy_rows<D, kQueries, kAttentionThreads>(memory.q[buffer], head.q, head.q_stride, count, kQueries,
                                            head.size, row_of);
  copy_rows<D, kQueries, kAttentionThreads>(memory.dy[buffer], head.dy, head.y_stride, count, kQueries,
                                            head.size, row_of);
  if (!memory.means_of_scores())
    copy_rows<D, kQueries, kAttentionThreads>(memory.y, head.y, head.y_stride, count, kQueries, head.size,
                                              row_of);
  commit_copies();

  const int i = threadIdx.x;
  if (i >= kQueries) return;
  memory.queries[buffer][i].shift =
      i < count ? head.log_sum_exp[first + i] * kLog2E : __int_as_float(0x7F800000);
}

/// Step 1 from y.  Every thread reads only what copy_rows() had it copy, and has waited for that.
template <int D, bool keys_are_values>
__device__ __forceinline__ void find_means(BackwardShared<D, keys_are_values>& memory, int buffer) {
  constexpr int kPacks = D / 8, kAllPacks = kChunkQueries<D> * kPacks;
  static_assert(kAllPacks % kAttentionThreads == 0, "warps are whole");
#pragma unroll
  for (int i = threadIdx.x; i < kAllPacks; i += kAttentionThreads) {
    const int row = i / kPacks, at = row * (D + kRowPadding) + i % kPacks * 8;
    const auto dy = load<8>(memory.dy[buffer] + at), y = load<8>(memory.y + at);
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < 8; ++j) sum += dy[j] * y[j];
    sum = warp_sum<kPacks>(sum);
    if (i % kPacks == 0) memory.queries[buffer][row].mean = sum;
  }
}

/// Step 1 from the scores of all keys, which are the values; a warp takes 16 queries.
template <int D>
__device__ void find_means_of_scores(BackwardShared<D, true>& memory, int buffer, int keys, float scale) {
  constexpr int kStride = D + kRowPadding;
  const int tile = 16 * warp_index();
  if (tile >= kChunkQueries<D>) return;
  float weighted[2] = {}, total[2] = {};  // Σ p · dp and Σ p, a lane's share, of rows lane / 4 and 8 below
#pragma unroll 1                          // registers are full of the sums of step 2
  for (int key = 0; key < keys; key += 16) {
    FragmentD s[2], dp[2];
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const FragmentPairB k = load_pair_transposed(memory.k + key * kStride + 16 * i, kStride);
      const FragmentA q = load_a(memory.q[buffer] + tile * kStride + 16 * i, kStride);
      mma(s[0], q, k.b[0]);
      mma(s[1], q, k.b[1]);
      const FragmentA dy = load_a(memory.dy[buffer] + tile * kStride + 16 * i, kStride);
      mma(dp[0], dy, k.b[0]);
      mma(dp[1], dy, k.b[1]);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool exists = key + 8 * j + FragmentD::column(i) < keys;
        const float shift = memory.queries[buffer][tile + FragmentD::row(i)].shift;
        const float p = exists ? fast_exp2(s[j].values[i] * (scale * kLog2E) - shift) : 0.0f;
        weighted[i / 2] += p * dp[j].values[i];
        total[i / 2] += p;
      }
  }
  // Dividing by Σ p makes up for what log Σ exp of large scores lacks in digits.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float all = warp_sum<4>(total[half]), sum = warp_sum<4>(weighted[half]);
    if (lane_index() % 4 == 0)
      memory.queries[buffer][tile + lane_index() / 4 + 8 * half].mean = all == 0.0f ? 0.0f : sum / all;
  }
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

/// The blocks of keys of a head, about equally long.
struct KeyBlocks {
  int keys, tiles, count;
  __device__ explicit KeyBlocks(int all) : keys(all), tiles((all + 15) / 16) {
    count = max(1, (all + kBlockKeys - 1) / kBlockKeys);
  }
  /// Where block `block` starts.
  __device__ int first(int block) const { return min(keys, block * tiles / count * 16); }
};

/// A warp's 16 keys and values as left operands.
template <int D, bool keys_are_values>
struct KeyOperands {
  FragmentA k[D / 16], separate_v[keys_are_values ? 1 : D / 16];

  __device__ void load(const BackwardShared<D, keys_are_values>& memory, int key) {
    constexpr int kStride = BackwardShared<D, keys_are_values>::kStride;
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      k[i] = load_a(memory.k + key * kStride + 16 * i, kStride);
      if (!keys_are_values) separate_v[i] = load_a(memory.v + key * kStride + 16 * i, kStride);
    }
  }
  __device__ __forceinline__ const FragmentA& v(int i) const {
    if constexpr (keys_are_values)
      return k[i];
    else
      return separate_v[i];
  }
};

/// Step 2 for 16 queries, `at` within the chunk, and the 16 keys from `key` on, of which `count` exist.
template <int D, bool with_queries, bool keys_are_values>
__device__ __forceinline__ void add_queries(BackwardShared<D, keys_are_values>& memory,
                                            const KeyOperands<D, keys_are_values>& keys, int buffer, int at,
                                            int key, int count, float scale,
                                            KeySums<D, keys_are_values>& sums) {
  constexpr int kStride = BackwardShared<D, keys_are_values>::kStride;
  const bf16* q = memory.q[buffer] + at * kStride;
  const bf16* dy = memory.dy[buffer] + at * kStride;
  FragmentD s[2], dp[2];
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
    const FragmentPairB queries = load_pair_transposed(q + 16 * i, kStride);
    mma(s[0], keys.k[i], queries.b[0]);
    mma(s[1], keys.k[i], queries.b[1]);
    const FragmentPairB gradients = load_pair_transposed(dy + 16 * i, kStride);
    mma(dp[0], keys.v(i), gradients.b[0]);
    mma(dp[1], keys.v(i), gradients.b[1]);
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int query = at + 8 * j + FragmentD::column(0);  // and the next one
    const auto pair = load_pack<4>(&memory.queries[buffer][query].shift);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float shift = pair[i % 2 * 2], mean = pair[i % 2 * 2 + 1];
      const float p = FragmentD::row(i) < count ? fast_exp2(s[j].values[i] * (scale * kLog2E) - shift) : 0.0f;
      s[j].values[i] = p;
      dp[j].values[i] = p * (dp[j].values[i] - mean);
    }
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
  if (!with_queries) return;
  // A word of A holds two neighbouring queries of one key.
  const int row = lane_index() / 4, column = lane_index() % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    *reinterpret_cast<unsigned*>(memory.ds +
                                 (key + row + i % 2 * 8) * BackwardShared<D, keys_are_values>::kScoreStride +
                                 at + column + i / 2 * 8) = ds.words[i];
}

/// Step 3 for the chunk that starts at query `first`.  `first_keys`: no other keys have added to dq yet.
template <int D, bool keys_are_values>
__device__ void add_query_gradients(const BackwardShared<D, keys_are_values>& memory,
                                    const BackwardHead<bf16>& head, int keys, int first, int end,
                                    bool first_keys) {
  constexpr int kStride = BackwardShared<D, keys_are_values>::kStride;
  constexpr int kScoreStride = BackwardShared<D, keys_are_values>::kScoreStride;
  constexpr int kTiles = kChunkQueries<D> / 16, kColumns = 32;
  const int tile = warp_index() % kTiles * 16, column = warp_index() / kTiles * kColumns;
  if (column >= head.size || first + tile >= end) return;
  FragmentD dq[kColumns / 8];
#pragma unroll 1  // registers are full of the sums of step 2
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

struct BackwardPlan {
  QueryParts parts;
  int key_blocks = 1;  // that the grid has; a block takes every key_blocks-th block of keys
};

template <int D, bool with_queries, typename Source>
__global__ void __launch_bounds__(kAttentionThreads, D <= 64 || Source::kKeysAreValues ? 2 : 1)
    attend_backward_mma(Source source, BackwardPlan plan) {
  constexpr bool kOne = Source::kKeysAreValues;
  constexpr int kWarps = kAttentionThreads / kWarpSize, kQueries = kChunkQueries<D>;
  auto& memory = *dynamic_shared<BackwardShared<D, kOne>>();
  const int part = blockIdx.x % plan.parts.count;
  const int grid_block = static_cast<int>(blockIdx.x / plan.parts.count % plan.key_blocks);
  const int64_t index = blockIdx.x / plan.parts.count / plan.key_blocks;
  const BackwardHead<bf16> made = source.head(index, memory.list);
  if (threadIdx.x == 0) memory.head = made;
  __syncthreads();
  const BackwardHead<bf16>& head = memory.head;
  const int begin = part * plan.parts.queries, end = min(begin + plan.parts.queries, head.queries);

  for (int key_block = grid_block; key_block < KeyBlocks(head.keys).count; key_block += plan.key_blocks) {
    const int first_key = KeyBlocks(head.keys).first(key_block);
    const int keys = KeyBlocks(head.keys).first(key_block + 1) - first_key;
    const int tiles = (keys + 15) / 16;
    const int groups = tiles > 0 ? min(kWarps / tiles, kQueries / 16) : 0;
    const int tile = tiles > 0 ? warp_index() % tiles : 0, group = tiles > 0 ? warp_index() / tiles : 0;
    const auto row_of = [&](int j) { return int64_t{head.row_of_key(first_key + j)}; };
    __syncthreads();  // nobody reads the block of keys before any more
    copy_rows<D, kBlockKeys, kAttentionThreads>(memory.k, head.k, head.kv_stride, keys, 16 * tiles, head.size,
                                                row_of);
    if (!kOne)
      copy_rows<D, kBlockKeys, kAttentionThreads>(memory.v, head.v, head.kv_stride, keys, 16 * tiles,
                                                  head.size, row_of);
    start_chunk(memory, 0, head, begin, end);
    wait_copies();
    __syncthreads();
    KeyOperands<D, kOne> operands;
    if (group < groups) operands.load(memory, 16 * tile);

    KeySums<D, kOne> sums;
    int buffer = 0;
    for (int first = begin; first < end; first += kQueries, buffer ^= 1) {
      wait_copies();
      if (!memory.means_of_scores()) find_means(memory, buffer);
      __syncthreads();
      if (first + kQueries < end) start_chunk(memory, buffer ^ 1, head, first + kQueries, end);
      __syncwarp();  // fragments are loaded by whole warps
      if constexpr (kOne)
        if (memory.means_of_scores()) {
          find_means_of_scores(memory, buffer, keys, head.scale);
          __syncthreads();
        }
      if (group < groups)
#pragma unroll 1
        for (int at = 16 * group; at < min(kQueries, end - first); at += 16 * groups)
          add_queries<D, with_queries>(memory, operands, buffer, at, 16 * tile, keys - 16 * tile, head.scale,
                                       sums);
      if constexpr (with_queries) {
        __syncthreads();
        add_query_gradients(memory, head, keys, first, end, key_block == 0);
      }
    }
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

/// Without `with_queries` no dq.
template <bool with_queries, typename Source>
void launch_attend_backward_mma(Queue& queue, std::string_view name, const Source& source, int64_t heads,
                                const BackwardPlan& plan, int size, int list_entries) {
  with_padded_size(size, [&](auto padded) {
    launch(queue,
           {.name = name,
            .grid = {heads * plan.key_blocks * plan.parts.count},
            .block = {kAttentionThreads},
            .shared_bytes = backward_shared_bytes(size, Source::kKeysAreValues, list_entries)},
           attend_backward_mma<padded, with_queries, Source>, source, plan);
  });
}

}  // namespace scrawl::SCRAWL_GPU
