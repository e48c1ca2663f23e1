// Matrix products of the simulator: the GPU's come from a library, so here the CPU's take their place, in
// fp32.  Rounding them, once at the end, ReLU, gates, sums of a's terms, and products of some shapes or of no
// terms are the GPU's own kernels.
#include "kernels/matmul.h"

#include <vector>

#include "kernels/bf16.h"
#include "kernels/cpu/queue.h"
#include "kernels/cuda/convolution/weight_gradients_wgmma.cuh"
#include "kernels/cuda/matmul/parts.h"
#include "kernels/matmul_group.h"
#include "kernels/simt/observer.h"
#include "kernels/simt/queue.h"

namespace scrawl::simt {

namespace {

/// An fp32 copy of a bf16 matrix whose rows lie `ld` apart; the copy's rows follow one another.
std::vector<float> widened(const void* matrix, int64_t rows, int64_t columns, int64_t ld) {
  const auto* from = static_cast<const bf16*>(matrix);
  std::vector<float> result(rows * columns);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t j = 0; j < columns; ++j) result[row * columns + j] = to_float(from[row * ld + j]);
  return result;
}

/// Tells the observer what a library's product reads and writes.
void report(const MatMul& args) {
  const auto rows = [](const void* matrix, int64_t count, int64_t columns, int64_t ld, DType dtype,
                       Access kind) {
    const auto size = static_cast<int64_t>(size_of(dtype));
    for (int64_t row = 0; matrix && row < count; ++row)
      observer->access(static_cast<const std::byte*>(matrix) + row * ld * size, columns * size, kind,
                       nullptr);
  };
  observer->begin_launch(args.name);
  rows(args.a, args.transpose_a ? args.k : args.m, args.transpose_a ? args.m : args.k, args.lda, args.dtype,
       Access::read);
  rows(args.b, args.transpose_b ? args.n : args.k, args.transpose_b ? args.k : args.n, args.ldb, args.dtype,
       Access::read);
  rows(args.bias, 1, args.n, args.n, args.c_dtype, Access::read);
  rows(args.addend, args.m, args.n, args.ldc, args.c_dtype, Access::read);
  if (args.c_dtype == DType::f32)  // else by the kernel that rounds it
    rows(args.c, args.m, args.n, args.ldc, args.c_dtype, Access::write);
  observer->end_launch();
}

/// In place of a library's: c with bias and addend.
void multiply(const MatMul& args, Queue& queue) {
  if (observer) report(args);
  MatMul product = args;
  product.dtype = product.c_dtype = DType::f32;
  product.relu = false;
  product.gate = nullptr;
  product.a_sum = nullptr;
  std::vector<float> a, b, c, bias, addend;  // empty where they are fp32 already
  if (args.dtype == DType::bf16) {
    a = args.transpose_a ? widened(args.a, args.k, args.m, args.lda)
                         : widened(args.a, args.m, args.k, args.lda);
    b = args.transpose_b ? widened(args.b, args.n, args.k, args.ldb)
                         : widened(args.b, args.k, args.n, args.ldb);
    product.a = a.data();
    product.b = b.data();
    product.lda = args.transpose_a ? args.m : args.k;
    product.ldb = args.transpose_b ? args.k : args.n;
  }
  if (args.c_dtype == DType::bf16) {
    if (args.bias) {
      bias = widened(args.bias, 1, args.n, args.n);
      product.bias = bias.data();
    }
    if (args.addend) {
      addend = widened(args.addend, args.m, args.n, args.ldc);
      product.addend = addend.data();
    }
    c.resize(args.m * args.n);
    product.c = c.data();
    product.ldc = args.n;
    product.accumulate = false;
  }
  cpu::Queue processor(queue.threads());
  cpu::run(product, processor);
  if (args.c_dtype == DType::bf16) round_product(c.data(), args, queue);
}

}  // namespace

void run(const MatMul& args, Queue& queue) {
  check_epilogue(args);
  if (args.m == 0) return;
  if (is_deep(args)) return multiply_deep(args, queue);
  if (is_narrow(args)) return multiply_narrow(args, queue);
  if (queue.compute_capability() == 90 && is_of_rows(args)) return multiply_rows(args, queue);
  if (args.n > 0 && args.k == 0)
    set_to_bias(args, queue);
  else if (args.n > 0)
    multiply(args, queue);
  if (args.relu && args.n > 0) apply_relu(args, queue);
  if (args.gate) apply_gate(args, queue);
  if (args.a_sum) sum_terms(args, queue);
}

void run(const MatMulGroup& args, Queue& queue) {
  std::vector<MatMul> together;
  for (const MatMul& product : args.products)
    if (queue.compute_capability() == 90 && fits_group(product))
      together.push_back(product);
    else
      run(product, queue);
  multiply_group(args.name, together, queue);
}

}  // namespace scrawl::simt
