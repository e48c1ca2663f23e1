#pragma once
// What cuDNN is told of its operands.
#include <cudnn.h>

#include <memory>

#include "kernels/convolution.h"

namespace scrawl::cudnn {

struct Destroy {
  void operator()(cudnnTensorStruct* p) const;
  void operator()(cudnnFilterStruct* p) const;
  void operator()(cudnnConvolutionStruct* p) const;
};
using Tensor = std::unique_ptr<cudnnTensorStruct, Destroy>;
using Filter = std::unique_ptr<cudnnFilterStruct, Destroy>;
using Convolution = std::unique_ptr<cudnnConvolutionStruct, Destroy>;

// All throw std::runtime_error when cuDNN does not take the sizes.

/// A map [images, height, width, channels].
Tensor describe_map(DType dtype, int64_t images, int64_t height, int64_t width, int64_t channels);
/// Weights [out_channels, kernel, kernel, channels].
Filter describe_weights(DType dtype, const ConvolutionShape& shape);
Convolution describe_convolution(const ConvolutionShape& shape, cudnnMathType_t math);

}  // namespace scrawl::cudnn
