#pragma once
// Convolutions of bf16 that read patches where they lie, without columns.  Each function says whether it took
// the work.
#include "kernels/convolution.h"

namespace scrawl {
/// Whether there is something to compute, and every value has an index below 2³¹.
inline bool has_short_indices(const ConvolutionShape& shape) {
  constexpr int64_t kLimit = int64_t{1} << 31;
  return shape.outputs() > 0 && shape.outputs() < kLimit && shape.inputs() < kLimit &&
         shape.weights() < kLimit;
}
/// Whether the gradients' kernels compute a convolution: of bf16, channels and outputs in packs of 16 bytes,
/// and patches apart from each other or weights few enough for small tiles to be faster than columns and a
/// library's larger tiles (measured on an H200).
inline bool reads_patches_directly(DType dtype, const ConvolutionShape& shape) {
  constexpr int64_t kMostWeights = 1 << 18;
  return dtype == DType::bf16 && shape.kernel > 1 && shape.channels % 8 == 0 && shape.out_channels % 8 == 0 &&
         (shape.weights() <= kMostWeights || shape.kernel == shape.stride) && has_short_indices(shape);
}
/// Whether those for the first patch embedding do: 7 x 7 over three channels, of an even width, by an even
/// stride, to up to 64 outputs.
inline bool reads_image_directly(DType dtype, const ConvolutionShape& shape) {
  return dtype == DType::bf16 && shape.kernel == 7 && shape.channels == 3 && shape.stride % 2 == 0 &&
         shape.width % 2 == 0 && shape.out_channels % 8 == 0 && shape.out_channels <= 64 &&
         has_short_indices(shape);
}
}  // namespace scrawl

namespace scrawl::cuda {
bool convolve_input_directly(const ConvolutionBackwardInput&, Queue&);
bool convolve_weight_directly(const ConvolutionBackwardWeight&, Queue&);
bool convolve_image_directly(const ConvolutionForward&, Queue&);
bool convolve_image_weight_directly(const ConvolutionBackwardWeight&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
bool convolve_input_directly(const ConvolutionBackwardInput&, Queue&);
bool convolve_weight_directly(const ConvolutionBackwardWeight&, Queue&);
bool convolve_image_directly(const ConvolutionForward&, Queue&);
bool convolve_image_weight_directly(const ConvolutionBackwardWeight&, Queue&);
}  // namespace scrawl::simt
