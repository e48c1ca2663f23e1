#pragma once
// Rows of 128 values as operands of the prototype attention kernels for few keys.  A lane of the four that
// share a row of a fragment moves 16 neighbouring bytes of every 64.  Their words, taken as they come as
// operands or results, are a permutation of columns: of the 16 pairs of 32 columns, pair 4a + b stands in
// place 4b + a ("swapped").  Keys lie in shared memory swapped, once for both products, so that neither
// queries nor results need shuffles.
#include "kernels/cuda/attention/head.cuh"
#include "kernels/cuda/device/fragments.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kPrototypeSize = 128;
inline constexpr int kKeyStride = kPrototypeSize + kRowPadding;
inline constexpr int kFewKeys = 64;  // whose scores of a warp's queries fit into registers

/// Calls body(std::integral_constant<int, padded>) with room for up to kFewKeys keys.
template <typename Body>
__device__ __forceinline__ void with_padded_keys(int keys, Body body) {
  if (keys <= 16) return body(std::integral_constant<int, 16>{});
  if (keys <= 32) return body(std::integral_constant<int, 32>{});
  body(std::integral_constant<int, kFewKeys>{});
}

/// Copies the listed keys to shared memory, swapped; those from `keys` on become zeros.  All threads of the
/// block call it.
template <int padded, int threads>
__device__ __forceinline__ void gather_keys(bf16* tile, const bf16* prototypes, const int* list, int keys) {
  constexpr int kPacks = kPrototypeSize / 8, kRowStep = threads / kPacks, kRows = padded / kRowStep;
  const int pack = threadIdx.x % kPacks, first = threadIdx.x / kPacks;
  Pack<unsigned, 4> words[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int row = first + i * kRowStep;
    words[i] = {};
    if (row < keys)
      words[i] = load_pack<4>(
          reinterpret_cast<const unsigned*>(prototypes + int64_t{list[row]} * kPrototypeSize + 8 * pack));
  }
  unsigned* const target = reinterpret_cast<unsigned*>(tile + first * kKeyStride) + pack / 4 * 16 + pack % 4;
#pragma unroll
  for (int i = 0; i < kRows; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) target[i * kRowStep * kKeyStride / 2 + 4 * j] = words[i][j];
}

/// What a lane has of 32 columns of a warp's 16 rows: 16 bytes of row lane / 4 and of 8 below.
struct RowPacks {
  Pack<unsigned, 4> packs[2];

  /// The left operand of step 0 or 1.
  __device__ __forceinline__ FragmentA operand(int step) const {
    return {{packs[0][2 * step], packs[1][2 * step], packs[0][2 * step + 1], packs[1][2 * step + 1]}};
  }
};

/// The lane's 16 bytes of rows lane / 4 (half 0) and 8 below, in memory; of those from `rows` on, zeros.
__device__ __forceinline__ Pack<unsigned, 4> load_row_pack(const bf16* source, int stride, int half,
                                                           int rows) {
  const int row = lane_index() / 4 + 8 * half;
  if (row >= rows) return {};
  return load_pack<4>(
      reinterpret_cast<const unsigned*>(source + static_cast<unsigned>(row * stride + lane_index() % 4 * 8)));
}
__device__ __forceinline__ void store_row_pack(bf16* target, int stride, int half, int rows,
                                               const Pack<unsigned, 4>& words) {
  const int row = lane_index() / 4 + 8 * half;
  if (row >= rows) return;
  store_pack<4>(
      reinterpret_cast<unsigned*>(target + static_cast<unsigned>(row * stride + lane_index() % 4 * 8)),
      words);
}

/// What a lane has of swapped results of 32 columns.
__device__ __forceinline__ Pack<unsigned, 4> result_pack(const FragmentD* d, int half) {
  Pack<unsigned, 4> words;
#pragma unroll
  for (int i = 0; i < 4; ++i) words[i] = pack_bf16(d[i].values[2 * half], d[i].values[2 * half + 1]);
  return words;
}

/// Results of 32 columns become what a lane has of stored ones, or that is added to them.
__device__ __forceinline__ void take_row_pack(FragmentD* d, int half, const Pack<unsigned, 4>& words) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    d[i].values[2 * half] = low_bf16(words[i]);
    d[i].values[2 * half + 1] = high_bf16(words[i]);
  }
}
__device__ __forceinline__ void add_row_pack(FragmentD* d, int half, const Pack<unsigned, 4>& words) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    d[i].values[2 * half] += low_bf16(words[i]);
    d[i].values[2 * half + 1] += high_bf16(words[i]);
  }
}

/// d += weights · keys for some times 16 rows and 32 columns; of 16 keys.
template <int count>
__device__ __forceinline__ void add_weighted_keys(FragmentD (&d)[count][4], const FragmentA (&weights)[count],
                                                  const bf16* keys) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const FragmentPairB pair = load_pair(keys + 16 * i, kKeyStride);
#pragma unroll
    for (int tile = 0; tile < count; ++tile) {
      mma(d[tile][2 * i], weights[tile], pair.b[0]);
      mma(d[tile][2 * i + 1], weights[tile], pair.b[1]);
    }
  }
}

}  // namespace scrawl::SCRAWL_GPU
