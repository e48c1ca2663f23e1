#pragma once
// Patches of a convolution where they lie in x, to be multiplied without being gathered first: patch
// `position` is a row of kernel · kernel · channels terms, in the order of w's.
#include "kernels/bf16.h"
#include "kernels/cuda/convolution/geometry.cuh"
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/divisor.cuh"

namespace scrawl::SCRAWL_GPU {

struct PatchMap : ConvolutionGeometry {
  int positions, terms, outputs;
  Divisor of_out_width, of_out_height, of_channels, of_kernel;

  explicit PatchMap(const ConvolutionShape& s)
      : ConvolutionGeometry(s),
        positions(static_cast<int>(s.images * s.out_height() * s.out_width())),
        terms(static_cast<int>(s.patch())),
        outputs(s.out_channels),
        of_out_width(s.out_width()),
        of_out_height(s.out_height()),
        of_channels(s.channels),
        of_kernel(s.kernel) {}

  /// A place in x: of a patch's first cell, or of a term relative to that.
  struct Place {
    int row, column, offset;
  };
  __device__ __forceinline__ Place origin(int position) const {
    const auto [line, ox] = of_out_width.divide(position);
    const auto [image, oy] = of_out_height.divide(line);
    const int top = oy * stride - padding, left = ox * stride - padding;
    return {top, left, ((image * height + top) * width + left) * channels};
  }
  __device__ __forceinline__ Place term(int index) const {
    const auto [tap, channel] = of_channels.divide(index);
    const auto [ky, kx] = of_kernel.divide(tap);
    return {ky, kx, (ky * width + kx) * channels + channel};
  }
  /// Starts a copy of eight neighbouring terms, zeros where they lie in the padding or do not exist.
  __device__ __forceinline__ void start_pack(bf16* target, const bf16* x, const Place& origin,
                                             const Place& term, bool exists) const {
    // Negative numbers are large ones without their sign.
    exists = exists && static_cast<unsigned>(origin.row + term.row) < static_cast<unsigned>(height) &&
             static_cast<unsigned>(origin.column + term.column) < static_cast<unsigned>(width);
    copy_async<16>(target, exists ? x + origin.offset + term.offset : x, exists);
  }
};

}  // namespace scrawl::SCRAWL_GPU
