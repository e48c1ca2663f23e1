#pragma once
// Depthwise 3×3 + bias + GELU on tensor cores; see strips.cuh.  Each function says whether it took
// the work.
#include "kernels/depthwise_gelu.h"

namespace scrawl::cuda {
bool run_by_strips(const DepthwiseGeluForward&, Queue&);
bool run_by_strips(const DepthwiseGeluBackward&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
bool run_by_strips(const DepthwiseGeluForward&, Queue&);
bool run_by_strips(const DepthwiseGeluBackward&, Queue&);
}  // namespace scrawl::simt
