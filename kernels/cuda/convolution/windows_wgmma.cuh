#pragma once
// Convolutions on the tensor cores of Hopper; see windows_wgmma.cu.  Each function says whether it took
// the work.
#include "kernels/convolution.h"

namespace scrawl::cuda {
bool convolve_by_windows(const ConvolutionForward&, Queue&);
bool convolve_by_windows(const ConvolutionBackwardInput&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
bool convolve_by_windows(const ConvolutionForward&, Queue&);
bool convolve_by_windows(const ConvolutionBackwardInput&, Queue&);
}  // namespace scrawl::simt
