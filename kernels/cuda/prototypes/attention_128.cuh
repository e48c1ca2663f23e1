#pragma once
// Prototype attention of rows of 128 values in bf16; see attention_forward_128.cu and
// attention_backward_128.cu.  Each function says whether it took the work.
#include "kernels/bf16.h"
#include "kernels/cuda/prototypes/source.cuh"

namespace scrawl::SCRAWL_GPU {

bool attend_prototypes_128(const PrototypeAttentionForward& args, Queue& queue);

/// dq, and the partial sums of dp; `parts` are of whole chunks of 64 queries.
bool attend_prototypes_backward_128(const PrototypeBackwardSource<bf16>& source, const QueryParts& parts,
                                    Queue& queue);

}  // namespace scrawl::SCRAWL_GPU
