#pragma once
// Attention on the tensor cores of Hopper; see forward_wgmma.cu and, for the backward pass,
// backward_wgmma.cu.
#include <string_view>

#include "kernels/bf16.h"
#include "kernels/cuda/attention/source.cuh"

namespace scrawl::SCRAWL_GPU {

/// Blocks that fill a large GPU once: a block takes a multiprocessor.
inline constexpr int64_t kWgmmaBlocks = 132;

inline bool fits_wgmma(int head_size, int compute_capability) {
  return head_size == 64 && compute_capability == 90;
}

/// How the queries of a head are cut into blocks, each of `groups` warpgroups for `chunks` chunks of 64.
struct ForwardBlocks {
  unsigned count;
  int chunks, groups;
};

/// Up to so many keys stay in a block's shared memory, and its warpgroups may take several chunks.  Of more
/// keys a warpgroup takes one chunk.
inline constexpr int kFewKeys = 104;

/// From sizes alone: what should keep the busiest of a large GPU's multiprocessors for the shortest time.
ForwardBlocks forward_blocks(int64_t heads, int queries, int keys);

/// As launch_attend_mma(), for what fits_wgmma() and has keys.
void launch_attend_wgmma(Queue& queue, std::string_view name, const ForwardSource<bf16>& source,
                         int64_t heads, int keys, const ForwardBlocks& blocks);

/// As launch_attend_backward_mma(), for what fits_wgmma(); parts are of whole chunks of 64 queries.
void launch_attend_backward_wgmma(Queue& queue, std::string_view name, const BackwardSource<bf16>& source,
                                  int64_t heads, const BackwardPlan& plan);

}  // namespace scrawl::SCRAWL_GPU
