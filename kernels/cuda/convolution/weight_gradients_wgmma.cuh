#pragma once
// Weight gradients on the tensor cores of Hopper; see weight_gradients_wgmma.cu.
#include <span>
#include <string_view>

#include "kernels/convolution.h"
#include "kernels/matmul.h"

namespace scrawl::cuda {
/// Whether multiply_group(), which only compute capability 9.0 has, takes a product: one that is not so large
/// that it fills a GPU by itself.  It computes a_sum too.
bool fits_group(const MatMul&);
void multiply_group(std::string_view name, std::span<const MatMul> products, Queue&);
/// Says whether it took the work.
bool convolve_by_windows(const ConvolutionBackwardWeight&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
bool fits_group(const MatMul&);
void multiply_group(std::string_view name, std::span<const MatMul> products, Queue&);
bool convolve_by_windows(const ConvolutionBackwardWeight&, Queue&);
}  // namespace scrawl::simt
