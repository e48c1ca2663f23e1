#pragma once
// Gradients of a convolution's weights in parts of the positions, and their sum.
#include "kernels/convolution.h"
#include "kernels/cuda/device/launch.cuh"

namespace scrawl::SCRAWL_GPU {

/// Where kernels leave dw and dbias (or null) of the first of `count` parts, in scratch; `stride` from part
/// to part.
struct WeightParts {
  int64_t count, stride;
  Scratch scratch;
  float *dw, *dbias;

  WeightParts(const ConvolutionBackwardWeight& args, int64_t parts, Queue& queue)
      : count(parts),
        stride(ceil_div(args.shape.weights() + (args.dbias ? args.shape.out_channels : 0), 4) * 4),
        scratch(queue.scratch(count * stride)),
        dw(scratch.data()),
        dbias(args.dbias ? dw + args.shape.weights() : nullptr) {}
};

/// dw and dbias of `args` (+)= the sum over parts, in a fixed order.
void add_weight_parts(const WeightParts&, const ConvolutionBackwardWeight&, Queue&);

}  // namespace scrawl::SCRAWL_GPU
