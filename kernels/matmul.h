#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// c[m,n] = op(a)[m,k] · op(b)[k,n] (+ bias[n] in every row) (+ c), row-major with row strides lda, ldb, ldc.
/// op transposes when asked: a is stored [m,k] or, transposed, [k,m].
struct MatMul {
  std::string_view name = "matmul";  // says in profiles which operation called
  DType dtype = DType::f32;          // of a and b
  DType c_dtype = DType::f32;
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t lda = 0;
  const void* b = nullptr;
  int64_t ldb = 0;
  void* c = nullptr;
  int64_t ldc = 0;
  const void* bias = nullptr;  // [n] in c's type, or null
  float* a_sum = nullptr;  // [m] (+)= Σ_k op(a), or null: a layer's bias gradient beside its weight gradient
  bool accumulate = false;  // adds to c and a_sum instead of overwriting them

  Cost cost() const {
    const int64_t inputs = (m * k + k * n) * size_of(dtype);
    return {inputs + m * n * size_of(c_dtype) * (accumulate ? 2 : 1), 2 * m * n * k};
  }
};

namespace cpu {
void run(const MatMul&, Queue&);
}
namespace cuda {
void run(const MatMul&, Queue&);
/// "cuBLASLt", or empty for a product that has a kernel of our own on this queue.
std::string_view library_of(const MatMul&, const Queue&);
}  // namespace cuda
namespace simt {
void run(const MatMul&, Queue&);
}

}  // namespace scrawl
