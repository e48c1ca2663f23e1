#pragma once
// What a matrix product of ours needs beside the product itself.
#include "kernels/matmul.h"

namespace scrawl::cuda {
/// a_sum[row] (+)= Σ_k op(a)[row, k].
void sum_terms(const MatMul&, Queue&);
/// c = bias (+ c), or what is asked for of bias and addend: a product over nothing.
void set_to_bias(const MatMul&, Queue&);
/// c = max(c, 0), and NaN stays.
void apply_relu(const MatMul&, Queue&);
/// c = 0 where the gate is not positive.
void apply_gate(const MatMul&, Queue&);
/// c (+)= `from` [m,n], rounded to bf16.
void round_product(const float* from, const MatMul&, Queue&);
/// Whether multiply_deep() takes a product; it computes a_sum too.
bool is_deep(const MatMul&);
void multiply_deep(const MatMul&, Queue&);
/// Whether multiply_narrow() takes a product.
bool is_narrow(const MatMul&);
void multiply_narrow(const MatMul&, Queue&);
/// Whether multiply_rows(), which only compute capability 9.0 has, takes a product.
bool is_of_rows(const MatMul&);
void multiply_rows(const MatMul&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
void sum_terms(const MatMul&, Queue&);
void set_to_bias(const MatMul&, Queue&);
void apply_relu(const MatMul&, Queue&);
void apply_gate(const MatMul&, Queue&);
bool is_narrow(const MatMul&);
void multiply_narrow(const MatMul&, Queue&);
bool is_deep(const MatMul&);
void multiply_deep(const MatMul&, Queue&);
bool is_of_rows(const MatMul&);
void multiply_rows(const MatMul&, Queue&);
void round_product(const float* from, const MatMul&, Queue&);
}  // namespace scrawl::simt
