#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// c[m,n] = op(a)[m,k] · op(b)[k,n] (+ bias[n] in every row) (+ c), row-major with row strides lda, ldb, ldc.
/// op transposes when asked: a is stored [m,k] or, transposed, [k,m].  An addend and ReLU may follow, or
/// ReLU's gradient.
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
  const void* bias = nullptr;    // [n] in c's type, or null
  const void* addend = nullptr;  // [m,n], stored as c is but elsewhere: added to c; or null
  bool relu = false;             // c = max(c, 0), and NaN stays NaN: a diverging run must show
  const void* gate = nullptr;    // [m,n], dense as c then is: c = 0 unless this is positive; or null
  float* a_sum = nullptr;  // [m] (+)= Σ_k op(a), or null: a layer's bias gradient beside its weight gradient
  bool accumulate = false;  // adds to c and a_sum instead of overwriting them

  /// Whether more than a bias follows the product.
  bool has_epilogue() const { return addend || relu || gate; }
  Cost cost() const {
    const int64_t inputs = (m * k + k * n) * size_of(dtype);
    const int64_t passes = 1 + (accumulate ? 1 : 0) + (addend ? 1 : 0) + (gate ? 1 : 0);  // over c's size
    return {inputs + m * n * size_of(c_dtype) * passes, 2 * m * n * k};
  }
};

/// Throws std::invalid_argument for what no backend computes: an addend, ReLU or a gate where c is added to,
/// and a gate beside a bias, an addend or ReLU, or where rows of c have gaps between them.
inline void check_epilogue(const MatMul& args) {
  if (args.has_epilogue() && args.accumulate)
    throw std::invalid_argument(std::string(args.name) + ": what is added to has no addend, ReLU or gate");
  if (args.gate && (args.bias || args.addend || args.relu || args.ldc != args.n))
    throw std::invalid_argument(std::string(args.name) + ": a gate is alone, and its rows are dense");
}

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
