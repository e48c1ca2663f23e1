#pragma once
// What kernels know of a convolution.
#include "kernels/convolution.h"
#include "kernels/cuda/device/backend.cuh"

namespace scrawl::SCRAWL_GPU {

struct ConvolutionGeometry {
  int height, width, channels, kernel, stride, padding, out_height, out_width;
  explicit ConvolutionGeometry(const ConvolutionShape& s)
      : height(s.height),
        width(s.width),
        channels(s.channels),
        kernel(s.kernel),
        stride(s.stride),
        padding(s.padding),
        out_height(s.out_height()),
        out_width(s.out_width()) {}
};

}  // namespace scrawl::SCRAWL_GPU
