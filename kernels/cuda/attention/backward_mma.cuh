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
// Blocks are heads × blocks of keys × parts of queries.  Parts leave partial sums of dK and dV, blocks of
// keys partial sums of dQ, which the caller adds in order; where there is one part or block the result is
// direct.
// Cost: 5 products; q, y, dy are read and dq is written once for each block of keys.  Limits: as forward.
#include "kernels/cuda/attention/fragments.cuh"
#include "kernels/cuda/attention/head.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

template <int D>
inline constexpr int kChunkQueries = D <= 64 ? 64 : 32;  // so that two blocks share a multiprocessor

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
  float shift[2][kQueries];            // log₂ Σ e^s; infinite where there is no query
  float mean[2][kQueries];             // of dP under P
  BackwardHead<bf16> head;             // here, since registers are full of sums
  int list[4];                         // and more behind it

  __device__ const bf16* values() const { return keys_are_values ? k : v; }
  __device__ bool means_of_scores() const { return keys_are_values && head.keys <= kBlockKeys; }
};

/// Queries [first, end) of a head in chunks.
template <int D, bool keys_are_values>
__device__ void start_chunk(BackwardShared<D, keys_are_values>& memory, int buffer,
                            const BackwardHead<bf16>& head, int first, int end) {
  constexpr int kQueries = kChunkQueries<D>;
  const int count = min(kQueries, end - first);
  const auto row_of = [=](int i) { return int64_t{first + i}; };
  copy_rows<D>(memory.q[buffer], head.q, head.q_stride, count, kQueries, head.size, row_of);
  copy_rows<D>(memory.dy[buffer], head.dy, head.y_stride, count, kQueries, head.size, row_of);
  if (!memory.means_of_scores())
    copy_rows<D>(memory.y, head.y, head.y_stride, count, kQueries, head.size, row_of);
  commit_copies();

  const int i = threadIdx.x;
  if (i >= kQueries) return;
  memory.shift[buffer][i] = i < count ? head.log_sum_exp[first + i] * kLog2E : __int_as_float(0x7F800000);
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
    if (i % kPacks == 0) memory.mean[buffer][row] = sum;
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
        const float shift = memory.shift[buffer][tile + FragmentD::row(i)];
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
      memory.mean[buffer][tile + lane_index() / 4 + 8 * half] = all == 0.0f ? 0.0f : sum / all;
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

/// Step 2 for 16 queries, `at` within the chunk, and the 16 keys from `key` on, of which `count` exist.
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
        const int64_t at = row * head.dq_stride + column + c;
        if (!keys_are_values && head.dq_partial) return store<8>(head.dq_partial + at, values);
        if (keys_are_values && head.dq_more && first_keys)
          add_stored(values, head.dq_more + row * head.y_stride + column + c);
        if (head.accumulate_dq || !first_keys) add_stored(values, head.dq + at);
        store<8>(head.dq + at, values);
      });
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

/// What a block does; `list` has room for what the source lists.
template <int D, typename Source>
__device__ __forceinline__ void attend_backward_block(const Source& source, const BackwardPlan& plan,
                                                      BackwardShared<D, Source::kKeysAreValues>& memory,
                                                      int* list) {
  constexpr bool kOne = Source::kKeysAreValues;
  constexpr int kWarps = kAttentionThreads / kWarpSize, kQueries = kChunkQueries<D>;
  const BackwardPlace place(plan);
  const BackwardHead<bf16> made = source.head(place.head, place.key_block, list);
  if (threadIdx.x == 0) memory.head = made;
  __syncthreads();
  const BackwardHead<bf16>& head = memory.head;
  const int begin = place.part * plan.parts.queries, end = min(begin + plan.parts.queries, head.queries);

  for (int key_block = place.key_block; key_block == place.key_block || key_block * kBlockKeys < head.keys;
       key_block += plan.key_blocks) {
    const int first_key = key_block * kBlockKeys, keys = min(kBlockKeys, head.keys - first_key);
    const int tiles = (keys + 15) / 16;
    const int groups = tiles > 0 ? min(kWarps / tiles, kQueries / 16) : 0;
    const int tile = tiles > 0 ? warp_index() % tiles : 0, group = tiles > 0 ? warp_index() / tiles : 0;
    const auto row_of = [&](int j) { return int64_t{head.row_of_key(first_key + j)}; };
    __syncthreads();  // nobody reads the block of keys before any more
    copy_rows<D>(memory.k, head.k, head.kv_stride, keys, 16 * tiles, head.size, row_of);
    if (!kOne) copy_rows<D>(memory.v, head.v, head.kv_stride, keys, 16 * tiles, head.size, row_of);
    start_chunk(memory, 0, head, begin, end);

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
      const KeyTargets<bf16> targets = source.key_targets(place.head, place.part);
      store_key_gradients<D>(sums.dk, head, key, head.scale, targets.dk_partial, targets.dk,
                             targets.accumulate);
      if (!kOne)
        store_key_gradients<D>(sums.separate_dv, head, key, 1.0f, targets.dv_partial, targets.dv,
                               targets.accumulate);
    }
  }
}

template <int D, typename Source>
__global__ void __launch_bounds__(kAttentionThreads, D <= 64 || Source::kKeysAreValues ? 2 : 1)
    attend_backward_mma(Source source, BackwardPlan plan) {
  auto& memory = *dynamic_shared<BackwardShared<D, Source::kKeysAreValues>>();
  attend_backward_block<D>(source, plan, memory, memory.list);
}

/// Shared memory that a block needs; `list_entries` of room for the list.
inline int64_t backward_shared_bytes(int size, bool keys_are_values, int list_entries) {
  int64_t bytes = 0;
  with_padded_size(size, [&](auto padded) {
    bytes = keys_are_values ? sizeof(BackwardShared<padded, true>) : sizeof(BackwardShared<padded, false>);
  });
  return bytes + int64_t{4} * std::max(0, list_entries - 4);
}

template <typename Source>
void launch_attend_backward_mma(Queue& queue, std::string_view name, const Source& source, int64_t heads,
                                const BackwardPlan& plan, int size, int list_entries) {
  with_padded_size(size, [&](auto padded) {
    launch(queue,
           {.name = name,
            .grid = {heads * plan.key_blocks * plan.parts.count},
            .block = {kAttentionThreads},
            .shared_bytes = backward_shared_bytes(size, Source::kKeysAreValues, list_entries)},
           attend_backward_mma<padded, Source>, source, plan);
  });
}

}  // namespace scrawl::SCRAWL_GPU
