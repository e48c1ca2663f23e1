#pragma once
// Attention backward on the tensor cores of Hopper; see attention_wgmma.cu.
#include <string_view>

#include "kernels/bf16.h"
#include "kernels/cuda/attention_source.cuh"

namespace scrawl::SCRAWL_GPU {

/// Blocks that fill a large GPU once: a block takes a multiprocessor.
inline constexpr int64_t kWgmmaBlocks = 132;

inline bool fits_wgmma(int head_size, int compute_capability) {
  return head_size == 64 && compute_capability == 90;
}

/// As launch_attend_backward_mma(), for what fits_wgmma(); parts are of whole chunks of 64 queries.
void launch_attend_backward_wgmma(Queue& queue, std::string_view name, const BackwardSource<bf16>& source,
                                  int64_t heads, const BackwardPlan& plan);

}  // namespace scrawl::SCRAWL_GPU
