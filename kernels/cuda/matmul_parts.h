#pragma once
// What a matrix product of ours needs beside the product itself.
#include "kernels/bf16.h"
#include "kernels/matmul.h"

namespace scrawl::cuda {
/// a_sum[row] (+)= Σ_k op(a)[row, k].
void sum_terms(const MatMul&, Queue&);
/// c = bias (+ c): a product over nothing.
void set_to_bias(const MatMul&, Queue&);
/// c (+)= `from` [m,n], rounded to bf16.
void round_product(const float* from, const MatMul&, Queue&);
/// to[i] = from[i] rounded, for i < count.
void round_bias(const float* from, int64_t count, bf16* to, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
void sum_terms(const MatMul&, Queue&);
void round_product(const float* from, const MatMul&, Queue&);
}  // namespace scrawl::simt
