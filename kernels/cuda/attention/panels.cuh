#pragma once
// How keys and values of a head stream through shared memory, for the attention kernels whose warps keep
// queries: in panels, two of which have room.
#include "kernels/cuda/attention/fragments.cuh"
#include "kernels/cuda/attention/head.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kPanelThreads = 128, kPanelWarps = kPanelThreads / kWarpSize;

/// Two panels of `room` keys and their values in shared memory.
template <int D, bool keys_are_values>
struct KeyPanels {
  static constexpr int kStride = D + kRowPadding;
  static constexpr int kKeyValues = keys_are_values ? kStride : 2 * kStride;  // that a key takes, of bf16
  bf16* memory;
  int room;

  __device__ bf16* keys(int panel) const { return memory + panel % 2 * room * kKeyValues; }
  __device__ bf16* values(int panel) const { return keys(panel) + (keys_are_values ? 0 : room * kStride); }

  /// Starts a group of copies, an empty one beyond the last panel.  Keys are padded by zeros to a multiple of
  /// 16.  All threads of the block call it.
  template <typename Head>
  __device__ __forceinline__ void start(const Head& head, int panel) const {
    const int first = panel * room, count = min(room, head.keys - first);
    const int padded = (count + 15) / 16 * 16;
    const auto row_of = [&](int j) { return int64_t{head.row_of_key(first + j)}; };
    copy_rows<D>(keys(panel), head.k, head.kv_stride, count, padded, head.size, row_of);
    if (!keys_are_values)
      copy_rows<D>(values(panel), head.v, head.kv_stride, count, padded, head.size, row_of);
    commit_copies();
  }

  /// Calls body(k, v, count) for every panel of the head, in order.  Panels 0 and 1 have been started.  All
  /// threads of the block call it.
  template <typename Head, typename Body>
  __device__ __forceinline__ void for_each(const Head& head, Body body) const {
#pragma unroll 1
    for (int panel = 0; panel * room < head.keys; ++panel) {
      wait_copies<1>();
      __syncthreads();
      body(keys(panel), values(panel), min(room, head.keys - panel * room));
      if ((panel + 2) * room < head.keys) __syncthreads();  // nobody reads this panel any more
      start(head, panel + 2);
    }
  }

  /// For the host: bytes of shared memory for heads of up to `keys` keys.
  static constexpr int64_t bytes(int keys, int room) {
    return int64_t{2} * (keys > room ? 2 : 1) * room * kKeyValues;
  }
};

}  // namespace scrawl::SCRAWL_GPU
