// Prototype attention backward in bf16 for rows of 128 values, probabilities recomputed.  As forward, it
// should keep memory busy: blocks stay for several chunks of 64 queries of an image, and all of them run at
// once, two a multiprocessor.  A block holds up to 64 keys K in shared memory (see tiles.cuh); two
// chunks of q and of dA, the left half of dy, are there or on their way.  Of a chunk:
//   1. A warp takes 8 queries: Sᵀ = K qᵀ and dPᵀ = K dAᵀ, P = exp(S − log Σ exp), and with the means of dP
//      under P, dS = P (dP − mean).  Pᵀ and dSᵀ go to shared memory.
//   2. A warp takes a tile of dK += dSᵀ q + Pᵀ dA, which stays in registers for all chunks,
//   3. and 32 queries × 32 columns of dq = dS K + the right half of dy, which came to registers meanwhile.
// Shared memory's rate comes next after memory's: tiles of dK and dq are as square as registers allow.
// Blocks leave partial sums of dp, which the caller adds in order.
// More keys than 64: as attention/backward_mma.cuh, by the same blocks, since only the device knows their
// number.
// Cost: 5 products; q and dy are read and dq is written once.  Limits: rows are aligned to 16 bytes.
#include "kernels/cuda/attention/backward_mma.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/prototypes/attention_128.cuh"
#include "kernels/cuda/prototypes/tiles.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSize = kPrototypeSize, kQueries = 64, kWarps = kAttentionThreads / kWarpSize;
constexpr int kScoreStride = kQueries + kRowPadding;
static_assert(kWarps == kQueries / 8 && kWarps == kQueries / 32 * kSize / 32);

struct FewShared {
  bf16 k[kFewKeys * kKeyStride];
  bf16 q[2][kQueries * kSize], da[2][kQueries * kSize];
  bf16 p[kFewKeys * kScoreStride], ds[kFewKeys * kScoreStride];  // transposed: a row for each key
  float log_sum_exp[2][kQueries];
};

/// An image's rows in memory.  Addresses are made where they are needed: registers are full of sums.
struct ImageRows {
  const PrototypeAttentionBackward& args;
  int image;

  __device__ const bf16* q(int row) const { return of_map(args.y, row) + kSize; }
  __device__ const bf16* da(int row) const { return of_map(args.dy, row); }
  __device__ const bf16* more(int row) const { return of_map(args.dy, row) + kSize; }
  __device__ bf16* dq(int row) const { return static_cast<bf16*>(args.dq) + place(row) * kSize; }
  __device__ const float* log_sum_exp(int row) const { return args.log_sum_exp + place(row); }

 private:
  __device__ int64_t place(int row) const { return int64_t{image} * args.shape.positions + row; }
  __device__ const bf16* of_map(const void* map, int row) const {
    return static_cast<const bf16*>(map) + place(row) * (2 * kSize);
  }
};

/// Where a chunk holds a row's 16 bytes from `column` on: neither 8 rows of them (ldmatrix) nor 64 bytes of
/// two rows (steps' operands) meet bank conflicts.
__device__ __forceinline__ unsigned chunk_offset(unsigned row, unsigned column) {
  return row * kSize ^ column ^ (row % 2 * 4 + row / 2 % 4) * 8;
}
/// The same of a lane's row and column of a block that begins at multiples of 8 rows and 16 columns.
__device__ __forceinline__ unsigned block_offset(unsigned row, unsigned column, unsigned lane_row,
                                                 unsigned lane_column) {
  return row * kSize + column / 64 * 64 + (chunk_offset(lane_row, lane_column) ^ column % 64);
}

/// Starts copies of the chunk of queries [first, end); what does not exist becomes zeros.
__device__ __forceinline__ void start_chunk(FewShared& memory, int buffer, const ImageRows& rows, int first,
                                            int end) {
  constexpr int kPacks = kSize / 8, kRowStep = kAttentionThreads / kPacks;
  const int row = threadIdx.x / kPacks, column = threadIdx.x % kPacks * 8;
  const bf16 *q = rows.q(first + row) + column, *da = rows.da(first + row) + column;
  const unsigned to = chunk_offset(row, column);
#pragma unroll
  for (int i = 0; i < kQueries; i += kRowStep) {
    const bool exists = first + row + i < end;
    copy_async<16>(memory.q[buffer] + to + i * kSize, q + i * 2 * kSize, exists);
    copy_async<16>(memory.da[buffer] + to + i * kSize, da + i * 2 * kSize, exists);
  }
  if (const int i = threadIdx.x; i < kQueries)
    copy_async<4>(memory.log_sum_exp[buffer] + i, rows.log_sum_exp(first + i), first + i < end);
}

/// Where in a chunk a warp's tile of dq is.
__device__ __forceinline__ int tile_row() {
  return warp_index() / 4 * 32;
}
__device__ __forceinline__ int tile_column() {
  return warp_index() % 4 * 32;
}

/// The right half of dy where a warp's tile of dq is: 32 queries, `count` of which exist, and 32 columns.
struct QueryGradients {
  RowPacks tiles[2];

  __device__ __forceinline__ void load(const bf16* dy, int count) {
#pragma unroll
    for (int tile = 0; tile < 2; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        tiles[tile].packs[half] = load_row_pack(dy + 32 * tile * kSize, 2 * kSize, half, count - 16 * tile);
  }
};

/// A lane's 16 bytes of 32 columns of 8 rows of a chunk: right operands of two steps.
__device__ __forceinline__ FragmentPairB load_rows(const bf16* chunk, int row, int column) {
  const unsigned at = block_offset(row, column, lane_index() / 4, lane_index() % 4 * 8);
  return as_pair(load_pack<4>(reinterpret_cast<const unsigned*>(chunk + at)).values);
}

/// Right operand of 16 rows and 16 columns of a chunk.
__device__ __forceinline__ FragmentPairB load_columns(const bf16* chunk, int row, int column) {
  uint32_t words[4];
  load_matrices<4, true>(words, chunk + block_offset(row, column, lane_index() % 16, lane_index() / 16 * 8));
  return as_pair(words);
}

/// Sums over the lanes of each column of a result.
__device__ __forceinline__ void add_over_rows(Floats<4>& sums) {
#pragma unroll
  for (int offset = 4; offset < kWarpSize; offset *= 2)
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += __shfl_xor_sync(kFullWarp, sums[i], offset);
}

/// Scores of `keys` keys become probabilities, gradients of probabilities those of scores.
template <int tiles>
__device__ __forceinline__ void find_score_gradients(FragmentD (&p)[tiles], FragmentD (&ds)[tiles],
                                                     const Pack<float, 2>& log_sum_exp, int keys) {
  Floats<4> sums{};  // Σ p of the lane's two queries, Σ p · dp
#pragma unroll
  for (int j = 0; j < tiles; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float shift = log_sum_exp[i % 2] * kLog2E;
      float& value = p[j].values[i];
      value = 16 * j + FragmentD::row(i) < keys ? fast_exp2(value * kLog2E - shift) : 0.0f;
      sums[i % 2] += value;
      sums[2 + i % 2] += value * ds[j].values[i];
    }
  add_over_rows(sums);
  // Division by Σ p makes up for what log Σ exp of large scores lacks in digits.
  float means[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) means[i] = sums[i] == 0.0f ? 0.0f : sums[2 + i] * fast_reciprocal(sums[i]);
#pragma unroll
  for (int j = 0; j < tiles; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) ds[j].values[i] = p[j].values[i] * (ds[j].values[i] - means[i % 2]);
}

/// Step 1 for the 8 queries from `row` on.
template <int tiles>
__device__ __forceinline__ void find_scores(FewShared& memory, int buffer, int row, int keys) {
  FragmentD p[tiles], ds[tiles];
#pragma unroll
  for (int column = 0; column < kSize; column += 32) {
    const FragmentPairB q = load_rows(memory.q[buffer], row, column);
    const FragmentPairB da = load_rows(memory.da[buffer], row, column);
#pragma unroll
    for (int step = 0; step < 2; ++step)
#pragma unroll
      for (int j = 0; j < tiles; ++j) {
        const FragmentA k = load_a(memory.k + 16 * j * kKeyStride + column + 16 * step, kKeyStride);
        mma(p[j], k, q.b[step]);
        mma(ds[j], k, da.b[step]);
      }
  }
  const int query = row + lane_index() % 4 * 2;
  find_score_gradients(p, ds, load_pack<2>(memory.log_sum_exp[buffer] + query), keys);
#pragma unroll
  for (int j = 0; j < 2 * tiles; ++j) {
    const int at = (8 * j + lane_index() / 4) * kScoreStride + query, i = j % 2 * 2;
    const auto pack = [=](const FragmentD& d) { return pack_bf16(d.values[i], d.values[i + 1]); };
    *reinterpret_cast<unsigned*>(memory.p + at) = pack(p[j / 2]);
    *reinterpret_cast<unsigned*>(memory.ds + at) = pack(ds[j / 2]);
  }
}

/// A warp's tile of dK, of as many as `padded` keys make.
template <int padded>
struct KeyGradients {
  static constexpr int kTiles = padded < 32 ? 1 : 2;  // of 16 keys
  static constexpr int kColumnWarps = kWarps * 16 * kTiles / padded, kColumns = kSize / kColumnWarps;
  FragmentD d[kTiles][kColumns / 8];

  __device__ static int key() { return warp_index() / kColumnWarps * (16 * kTiles); }
  __device__ static int column() { return warp_index() % kColumnWarps * kColumns; }

  /// Step 2.
  __device__ __forceinline__ void add_chunk(const FewShared& memory, int buffer) {
#pragma unroll
    for (int row = 0; row < kQueries; row += 16) {
      FragmentA ds[kTiles], p[kTiles];
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        const int at = (key() + 16 * j) * kScoreStride + row;
        ds[j] = load_a(memory.ds + at, kScoreStride);
        p[j] = load_a(memory.p + at, kScoreStride);
      }
#pragma unroll
      for (int i = 0; i < kColumns / 8; i += 2) {
        const FragmentPairB q = load_columns(memory.q[buffer], row, column() + 8 * i);
        const FragmentPairB da = load_columns(memory.da[buffer], row, column() + 8 * i);
#pragma unroll
        for (int j = 0; j < kTiles; ++j)
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            mma(d[j][i + k], ds[j], q.b[k]);
            mma(d[j][i + k], p[j], da.b[k]);
          }
      }
    }
  }

  /// To the rows of the listed keys.
  __device__ __forceinline__ void store(float* partial, const int* list, int keys) const {
    partial += column() + lane_index() % 4 * 2;
#pragma unroll
    for (int j = 0; j < 2 * kTiles; ++j) {
      const int row = key() + 8 * j + lane_index() / 4;
      if (row >= keys) continue;
      float* const target = partial + int64_t{list[row]} * kSize;
#pragma unroll
      for (int i = 0; i < kColumns / 8; ++i) {
        const float* const pair = d[j / 2][i].values + j % 2 * 2;
        store_pack<2>(target + 8 * i, Pack<float, 2>{pair[0], pair[1]});
      }
    }
  }
};

/// Step 3 for the 32 queries from `row` on, of which the first `count` exist, and 32 columns.
template <int tiles>
__device__ __forceinline__ void store_query_gradients(const FewShared& memory, const QueryGradients& more,
                                                      int row, int column, bf16* dq, int count,
                                                      bool accumulate) {
  FragmentD d[2][4];
#pragma unroll
  for (int tile = 0; tile < 2; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) take_row_pack(d[tile], half, more.tiles[tile].packs[half]);
#pragma unroll
  for (int j = 0; j < tiles; ++j) {
    FragmentA ds[2];
#pragma unroll
    for (int tile = 0; tile < 2; ++tile)
      ds[tile] = load_a_transposed(memory.ds + 16 * j * kScoreStride + row + 16 * tile, kScoreStride);
    add_weighted_keys(d, ds, memory.k + 16 * j * kKeyStride + column);
  }
#pragma unroll
  for (int tile = 0; tile < 2; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      bf16* const target = dq + 16 * tile * kSize;
      const int rows = count - 16 * tile;
      if (accumulate) add_row_pack(d[tile], half, load_row_pack(target, kSize, half, rows));
      store_row_pack(target, kSize, half, rows, result_pack(d[tile], half));
    }
}

/// The chunks of queries [begin, end), two of which have been started, and so has `more` of the first.
template <int padded>
__device__ __forceinline__ void add_chunks(KeyGradients<padded>& dk, FewShared& memory, const ImageRows& rows,
                                           int keys, int begin, int end, QueryGradients& more) {
  constexpr int kTiles = padded / 16;
  const int row = tile_row(), column = tile_column();
  int buffer = 0;
#pragma unroll 1
  for (int first = begin; first < end; first += kQueries, buffer ^= 1) {
    find_scores<kTiles>(memory, buffer, 8 * warp_index(), keys);
    __syncthreads();
    dk.add_chunk(memory, buffer);
    const int query = first + row, next = query + kQueries;
    store_query_gradients<kTiles>(memory, more, row, column, rows.dq(query) + column, end - query,
                                  rows.args.accumulate_dq);
    more.load(rows.more(next) + column, end - next);
    wait_copies();
    __syncthreads();  // the next chunk is there, and this one's place is free
    if (first + 2 * kQueries < end) start_chunk(memory, buffer, rows, first + 2 * kQueries, end);
    commit_copies();
  }
  wait_copies();
}

/// Shared memory of a block, behind the list of keys.
union BlockShared {
  FewShared few;
  BackwardShared<kSize, true> many;
};

/// Blocks of the grid are images × parts of their queries.
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attend_backward_128(const __grid_constant__ PrototypeBackwardSource<bf16> source,
                        const __grid_constant__ BackwardPlan plan, int list_entries) {
  int* const list = dynamic_shared<int>();
  auto& memory = *reinterpret_cast<BlockShared*>(list + list_entries);
  const PrototypeAttentionShape& shape = source.args.shape;
  const int part = blockIdx.x % plan.parts.count, image = blockIdx.x / plan.parts.count;
  const int begin = part * plan.parts.queries, end = min(begin + plan.parts.queries, shape.positions);
  const ImageRows rows{source.args, image};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    start_chunk(memory.few, i, rows, begin + i * kQueries, end);
    commit_copies();
  }
  const int query = begin + tile_row();
  QueryGradients more;
  more.load(rows.more(query) + tile_column(), end - query);
  const int keys = list_keys(source.args, image, list);
  if (keys > kFewKeys) {
    wait_copies();
    __syncthreads();  // memory gets another use
    return attend_backward_block<kSize>(source, plan, memory.many, list);
  }
  with_padded_keys(keys, [&](auto padded) {
    gather_keys<padded.value, kAttentionThreads>(memory.few.k, prototypes_of<bf16>(source.args, image), list,
                                                 keys);
    wait_copies<1>();
    __syncthreads();
    KeyGradients<padded.value> dk;
    add_chunks(dk, memory.few, rows, keys, begin, end, more);
    dk.store(source.key_targets(image, part).dk_partial, list, keys);
  });
}

}  // namespace

bool attend_prototypes_backward_128(const PrototypeBackwardSource<bf16>& source, const QueryParts& parts,
                                    Queue& queue) {
  const PrototypeAttentionBackward& args = source.args;
  const int list_entries = (args.shape.prototypes() + 3) / 4 * 4;
  const int64_t shared_bytes = 4 * list_entries + sizeof(BlockShared);
  if (args.dtype != DType::bf16 || args.shape.size != kSize ||
      packable(16, {args.p, args.y, args.dy, args.dq}) != 16 || shared_bytes > shared_memory_limit(queue))
    return false;
  const LaunchShape launch_shape{.name = args.name,
                                 .grid = {args.shape.images * parts.count},
                                 .block = {kAttentionThreads},
                                 .shared_bytes = shared_bytes};
  launch(queue, launch_shape, attend_backward_128, source, BackwardPlan{parts, 1}, list_entries);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
