#pragma once
// How keys and values of a head stream through shared memory, for the attention kernels whose warps keep
// queries: in panels of 64 keys, two of which have room.
#include "kernels/cuda/attention_fragments.cuh"
#include "kernels/cuda/attention_head.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kPanelKeys = 64, kPanelThreads = 128, kPanelWarps = kPanelThreads / kWarpSize;

/// Shared memory of a block.
template <int D, bool keys_are_values>
struct KeyPanels {
  static constexpr int kStride = D + kRowPadding;
  bf16 k[2][kPanelKeys * kStride];
  bf16 v[2][keys_are_values ? 8 : kPanelKeys * kStride];
  int list[4];  // and more behind it

  __device__ const bf16* keys(int panel) const { return k[panel % 2]; }
  __device__ const bf16* values(int panel) const { return keys_are_values ? k[panel % 2] : v[panel % 2]; }

  /// Starts a group of copies, an empty one beyond the last panel.  Keys are padded by zeros to a multiple of
  /// 16.  All threads of the block call it.
  template <typename Head>
  __device__ __forceinline__ void start(const Head& head, int panel) {
    const int first = panel * kPanelKeys, count = min(kPanelKeys, head.keys - first);
    const int padded = (count + 15) / 16 * 16;
    const auto row_of = [&](int j) { return int64_t{head.row_of_key(first + j)}; };
    copy_rows<D>(k[panel % 2], head.k, head.kv_stride, count, padded, head.size, row_of);
    if (!keys_are_values)
      copy_rows<D>(v[panel % 2], head.v, head.kv_stride, count, padded, head.size, row_of);
    commit_copies();
  }
};

/// Calls body(k, v, count) for every panel of the head, in order.  Panels 0 and 1 have been started.  All
/// threads of the block call it.
template <int D, bool keys_are_values, typename Head, typename Body>
__device__ __forceinline__ void for_panels(KeyPanels<D, keys_are_values>& memory, const Head& head,
                                           Body body) {
#pragma unroll 1
  for (int panel = 0; panel * kPanelKeys < head.keys; ++panel) {
    wait_copies<1>();
    __syncthreads();
    body(memory.keys(panel), memory.values(panel), min(kPanelKeys, head.keys - panel * kPanelKeys));
    if ((panel + 2) * kPanelKeys < head.keys) __syncthreads();  // nobody reads this panel any more
    memory.start(head, panel + 2);
  }
}

/// `list_entries` of room for the list.
template <int D, bool keys_are_values>
LaunchShape panel_shape(std::string_view name, int64_t blocks, int list_entries) {
  return {.name = name,
          .grid = {blocks},
          .block = {kPanelThreads},
          .shared_bytes = static_cast<int64_t>(sizeof(KeyPanels<D, keys_are_values>)) +
                          int64_t{4} * std::max(0, list_entries - 4)};
}

}  // namespace scrawl::SCRAWL_GPU
