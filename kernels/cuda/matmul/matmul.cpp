// Matrix products on the GPU, by cuBLASLt: plans are chosen once for each problem (plans.h), in an
// order of summation that does not change from run to run.  A bias and an addend are applied where c is
// written; ReLU takes a pass over c, since cuBLASLt's makes 0 of NaN, and so does a gate, since cuBLASLt's
// (DRELU) is a mask of bits; the sums of a's terms (a layer's bias gradient) take a pass over a: cuBLASLt
// could take them from its own reads (BGRADB), but then chooses slow algorithms.  Shapes that it computes
// badly have kernels of our own, and so have groups.
#include "kernels/matmul.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/convolution/weight_gradients_wgmma.cuh"
#include "kernels/cuda/matmul/parts.h"
#include "kernels/cuda/matmul/plans.h"
#include "kernels/cuda/runtime/check.h"
#include "kernels/cuda/runtime/queue.h"
#include "kernels/matmul_group.h"

namespace scrawl::cuda {

namespace {

void multiply(const MatMul& args, Queue& queue) {
  const MatMulPlan& plan = queue.matmul_plans().plan(args, queue.stream());
  const auto checked = [&](auto status) { check(status, [&] { return describe(args); }); };
  if (args.bias)
    checked(cublasLtMatmulDescSetAttribute(plan.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                           &args.bias, sizeof args.bias));
  const void* const added = args.addend ? args.addend : args.c;
  const float alpha = 1.0f, beta = args.accumulate || args.addend ? 1.0f : 0.0f;
  constexpr int64_t kFloat = sizeof(float);
  const Scratch workspace = queue.scratch((plan.workspace_bytes + kFloat - 1) / kFloat);
  checked(cublasLtMatmul(queue.blas(), plan.operation.get(), &alpha, args.b, plan.b.get(), args.a,
                         plan.a.get(), &beta, added, plan.c.get(), args.c, plan.c.get(), &plan.algorithm,
                         workspace.data(), plan.workspace_bytes, queue.stream()));
  if (queue.options().synchronise_each_launch) checked(cudaStreamSynchronize(queue.stream()));
}

/// cuBLASLt has no products of fp32 that come out in bf16: they are rounded in a step of their own.
void multiply_and_round(const MatMul& args, Queue& queue) {
  if (args.bias || args.addend || args.relu)
    throw std::invalid_argument(describe(args) + ": takes no bias, addend or ReLU");
  MatMul product = args;
  product.c_dtype = DType::f32;
  product.ldc = args.n;
  product.accumulate = false;
  const Scratch c = queue.scratch(args.m * args.n);
  product.c = c.data();
  multiply(product, queue);
  round_product(c.data(), args, queue);
}

/// Whether a kernel of our own takes a product on this queue.
bool is_ours(const MatMul& args, const Queue& queue) {
  return !queue.options().cublas_only &&
         (is_deep(args) || is_narrow(args) || (queue.compute_capability() == 90 && is_of_rows(args)));
}

void multiply_by_ours(const MatMul& args, Queue& queue) {
  if (is_deep(args)) return multiply_deep(args, queue);
  if (is_narrow(args)) return multiply_narrow(args, queue);
  multiply_rows(args, queue);
}

/// c, but for the gate.
void multiply_by_library(const MatMul& args, Queue& queue) {
  if (args.k == 0) return set_to_bias(args, queue);
  if (args.dtype == DType::f32 && args.c_dtype == DType::bf16) return multiply_and_round(args, queue);
  multiply(args, queue);
}

bool joins_group(const MatMul& args, const Queue& queue) {
  return !queue.options().cublas_only && queue.compute_capability() == 90 && fits_group(args);
}

}  // namespace

std::string_view library_of(const MatMul& args, const Queue& queue) {
  return is_ours(args, queue) ? "" : "cuBLASLt";
}

void run(const MatMul& args, Queue& queue) {
  check_epilogue(args);
  if (args.m == 0) return;
  if (is_ours(args, queue)) return multiply_by_ours(args, queue);
  if (args.n > 0) multiply_by_library(args, queue);
  if (args.relu && args.n > 0) apply_relu(args, queue);
  if (args.gate) apply_gate(args, queue);
  if (args.a_sum) sum_terms(args, queue);
}

std::string_view library_of(const MatMulGroup& args, const Queue& queue) {
  const auto alone = [&](const MatMul& product) {
    return !joins_group(product, queue) && !library_of(product, queue).empty();
  };
  return std::ranges::all_of(args.products, alone) ? "cuBLASLt" : "";
}

void run(const MatMulGroup& args, Queue& queue) {
  std::vector<MatMul> together;
  for (const MatMul& product : args.products)
    if (joins_group(product, queue))
      together.push_back(product);
    else
      run(product, queue);
  multiply_group(args.name, together, queue);
}

}  // namespace scrawl::cuda
