#pragma once
// Convolutions of bf16 that read patches where they lie, without columns.  Each function says whether it took
// the work.
#include "kernels/convolution.h"

namespace scrawl::cuda {
bool convolve_weight_directly(const ConvolutionBackwardWeight&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
bool convolve_weight_directly(const ConvolutionBackwardWeight&, Queue&);
}  // namespace scrawl::simt
