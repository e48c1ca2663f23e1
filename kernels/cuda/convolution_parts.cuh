#pragma once
// Gradients of a convolution's weights in parts of the positions, and their sum.
#include "kernels/convolution.h"
#include "kernels/cuda/device/launch.cuh"

namespace scrawl::SCRAWL_GPU {

/// Where kernels leave dw and dbias (or null) of the first of `count` parts, in scratch; `stride` from part
/// to part.
struct WeightParts {
  int64_t count, stride;
  float *dw, *dbias;

  WeightParts(const ConvolutionBackwardWeight& args, int64_t parts, Queue& queue) : count(parts) {
    const int64_t weights = args.shape.weights();
    stride = ceil_div(weights + (args.dbias ? args.shape.out_channels : 0), 4) * 4;
    dw = queue.scratch(count * stride);
    dbias = args.dbias ? dw + weights : nullptr;
  }
};

/// dw and dbias of `args` (+)= the sum over parts, in a fixed order.
void add_weight_parts(const WeightParts&, const ConvolutionBackwardWeight&, Queue&);

}  // namespace scrawl::SCRAWL_GPU
