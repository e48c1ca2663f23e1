#pragma once
// What operations have in common that a linear layer is part of.
#include "engine/tape.h"
#include "kernels/matmul.h"

namespace scrawl::ops {

/// x Wᵀ + bias, all but where it goes; `bias` may be undefined.  Throws when shapes or types do not fit.
MatMul linear_product(const Tensor& x, const Tensor& weight, const Tensor& bias);

/// dy W, all but where it goes.
MatMul input_gradient(const Tensor& dy, const Tensor& weight);

/// What was left to its gradient's owner, onto what has flowed into that so far, which may be undefined; the
/// sum is in `total`, of this shape.
MatMul left_product(const LeftProduct& left, const Tensor& gradient, const Shape& shape, Tensor& total);

/// Notes how to go back from y = x Wᵀ + bias.
void record_linear(Tape& tape, Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias);

}  // namespace scrawl::ops
