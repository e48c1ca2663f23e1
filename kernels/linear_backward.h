#pragma once
// What goes back through a linear layer with few outputs over what ReLU has yielded, in one reading.
#include <string_view>

#include "kernels/matmul.h"

namespace scrawl {

/// A layer y = x Wᵀ + bias over x [rows, inputs] = max(·, 0), from dy [rows, outputs]:
///   dx = dy · W where x is positive, else 0;   dW (+)= dyᵀ · x;   db (+)= Σ_rows dy.
/// dx may lie over x, which is of no use any more then: no second map of that size is needed.
struct RectifiedLinearBackward {
  static constexpr std::string_view name = "linear.backward";
  DType dtype = DType::f32;  // of all but dw and dbias
  int64_t rows = 0, inputs = 0, outputs = 0;
  const void* x = nullptr;
  const void* dy = nullptr;
  const void* w = nullptr;  // [outputs, inputs]
  void* dx = nullptr;
  float* dw = nullptr;
  float* dbias = nullptr;   // or null
  bool accumulate = false;  // adds to dw and dbias

  Cost cost() const {
    const int64_t values = 2 * rows * inputs + rows * outputs + outputs * inputs;
    const int64_t sums = outputs * inputs + (dbias ? outputs : 0);
    return {values * size_of(dtype) + 4 * sums * (accumulate ? 2 : 1), 4 * rows * inputs * outputs};
  }
  /// For those who compute both by products: dx without regard to x, to a place of its own.
  MatMul input_product(void* c) const {
    return {.name = name,
            .dtype = dtype,
            .c_dtype = dtype,
            .m = rows,
            .n = inputs,
            .k = outputs,
            .a = dy,
            .lda = outputs,
            .b = w,
            .ldb = inputs,
            .c = c,
            .ldc = inputs};
  }
  MatMul weight_product() const {
    return {.name = name,
            .dtype = dtype,
            .transpose_a = true,
            .m = outputs,
            .n = inputs,
            .k = rows,
            .a = dy,
            .lda = outputs,
            .b = x,
            .ldb = inputs,
            .c = dw,
            .ldc = inputs,
            .a_sum = dbias,
            .accumulate = accumulate};
  }
};

namespace cpu {
void run(const RectifiedLinearBackward&, Queue&);
}
namespace cuda {
void run(const RectifiedLinearBackward&, Queue&);
/// "cuBLASLt", or empty where a kernel of our own takes all of it on this queue.
std::string_view library_of(const RectifiedLinearBackward&, const Queue&);
}  // namespace cuda
namespace simt {
void run(const RectifiedLinearBackward&, Queue&);
}

}  // namespace scrawl
