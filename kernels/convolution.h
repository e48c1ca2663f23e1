#pragma once
#include <compare>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// A dense square convolution over maps [images, height, width, channels]: overlapped patch embedding
/// (7×7 stride 4, 3×3 stride 2 or 1) and spatial reduction (kernel = stride, no padding).
struct ConvolutionShape {
  int64_t images = 0;
  int height = 0, width = 0, channels = 0;
  int out_channels = 0;
  int kernel = 1, stride = 1, padding = 0;

  int out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
  int out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
  int64_t inputs() const { return images * height * width * channels; }
  int64_t outputs() const { return images * out_height() * out_width() * out_channels; }
  /// Values that one output element sums: the columns of the matrix product.
  int64_t patch() const { return int64_t{kernel} * kernel * channels; }
  int64_t weights() const { return out_channels * patch(); }
  auto operator<=>(const ConvolutionShape&) const = default;
  Cost cost(int64_t element) const {
    return {(inputs() + outputs() + weights()) * element, 2 * outputs() * patch()};
  }
};

/// y = x ∗ w + bias, w [out_channels, kernel, kernel, channels].
struct ConvolutionForward {
  static constexpr std::string_view name = "convolution.forward";
  DType dtype = DType::f32;
  ConvolutionShape shape;
  const void* x = nullptr;
  const void* w = nullptr;
  const void* bias = nullptr;  // in y's type, as libraries want it
  void* y = nullptr;
  Cost cost() const { return shape.cost(size_of(dtype)); }
};

/// dx (+)= gradient with respect to x.
struct ConvolutionBackwardInput {
  static constexpr std::string_view name = "convolution.backward_input";
  DType dtype = DType::f32;
  ConvolutionShape shape;
  const void* dy = nullptr;
  const void* w = nullptr;
  void* dx = nullptr;
  bool accumulate = false;
  Cost cost() const { return shape.cost(size_of(dtype)); }
};

/// dw, dbias (+)= gradients with respect to the weights, fp32.
struct ConvolutionBackwardWeight {
  static constexpr std::string_view name = "convolution.backward_weight";
  DType dtype = DType::f32;
  ConvolutionShape shape;
  const void* x = nullptr;
  const void* dy = nullptr;
  float* dw = nullptr;
  float* dbias = nullptr;
  bool accumulate = false;
  Cost cost() const { return shape.cost(size_of(dtype)); }
};

namespace cpu {
void run(const ConvolutionForward&, Queue&);
void run(const ConvolutionBackwardInput&, Queue&);
void run(const ConvolutionBackwardWeight&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const ConvolutionForward&, Queue&);
void run(const ConvolutionBackwardInput&, Queue&);
void run(const ConvolutionBackwardWeight&, Queue&);
}  // namespace cuda
namespace cudnn {
void run(const ConvolutionForward&, Queue&);
void run(const ConvolutionBackwardInput&, Queue&);
void run(const ConvolutionBackwardWeight&, Queue&);
constexpr std::string_view library_of(const ConvolutionForward&, const Queue&) {
  return "cuDNN";
}
constexpr std::string_view library_of(const ConvolutionBackwardInput&, const Queue&) {
  return "cuDNN";
}
constexpr std::string_view library_of(const ConvolutionBackwardWeight&, const Queue&) {
  return "cuDNN";
}
}  // namespace cudnn
namespace simt {
void run(const ConvolutionForward&, Queue&);
void run(const ConvolutionBackwardInput&, Queue&);
void run(const ConvolutionBackwardWeight&, Queue&);
}  // namespace simt

}  // namespace scrawl
