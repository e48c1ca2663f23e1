#pragma once
// A matrix product and the layer norm at its end or behind its back: rows of the product are what the norm
// works on, so that one kernel may compute both, and the product is never stored.
#include "kernels/layer_norm.h"
#include "kernels/matmul.h"

namespace scrawl {

/// norm, whose branch is a linear layer's output: linear.c, which is norm.branch and lies over norm.sum.
struct LinearNormForward {
  static constexpr std::string_view name = "linear_norm.forward";
  MatMul linear;
  ResidualNormForward norm;
  Cost cost() const { return without_product(linear.cost(), norm.cost(), linear); }

  /// Of a kernel that neither writes nor reads the product.
  static Cost without_product(const Cost& product, const Cost& norm, const MatMul& of) {
    return {product.bytes + norm.bytes - 2 * of.m * of.n * size_of(of.c_dtype), product.flops + norm.flops};
  }
};

/// norm, whose dy is a linear layer's input gradient, or what that is added to: product.c, which is norm.dy.
/// What is left there is undefined.
struct LinearNormBackward {
  static constexpr std::string_view name = "linear_norm.backward";
  MatMul product;
  ResidualNormBackward norm;
  Cost cost() const { return LinearNormForward::without_product(product.cost(), norm.cost(), product); }
};

namespace cpu {
void run(const LinearNormForward&, Queue&);
void run(const LinearNormBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const LinearNormForward&, Queue&);
void run(const LinearNormBackward&, Queue&);
/// "cuBLASLt", or empty where one kernel of our own takes both on this queue.
std::string_view library_of(const LinearNormForward&, const Queue&);
std::string_view library_of(const LinearNormBackward&, const Queue&);
}  // namespace cuda
namespace simt {
void run(const LinearNormForward&, Queue&);
void run(const LinearNormBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
