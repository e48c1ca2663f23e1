// Matrix products on the GPU, by cuBLASLt: plans are chosen once for each problem (matmul_plans.h), with a
// workspace of the queue's own, in an order of summation that does not change from run to run.  A bias is
// added where c is written; the sums of a's terms (a layer's bias gradient) are taken from the product's own
// reads where cuBLASLt can, else by a pass over a.
// cuBLASLt wants a bias in c's type, so for bf16 it is rounded first: a launch more.
#include "kernels/matmul.h"

#include <cstddef>
#include <stdexcept>

#include "kernels/cuda/check.h"
#include "kernels/cuda/matmul_parts.h"
#include "kernels/cuda/matmul_plans.h"
#include "kernels/cuda/queue.h"

namespace scrawl::cuda {

namespace {

/// The bias in c's type, or null.
const void* bias_of(const MatMul& args, Queue& queue) {
  if (!args.bias || args.c_dtype == DType::f32) return args.bias;
  constexpr int64_t kMost = MatMulPlans::kBiasBytes / size_of(DType::bf16);
  if (args.n > kMost)
    throw std::invalid_argument(fmt::format("{}: a bias has at most {} values", describe(args), kMost));
  auto* workspace = static_cast<std::byte*>(queue.blas_workspace());
  auto* rounded = reinterpret_cast<bf16*>(workspace + queue.matmul_plans().product_bytes());
  round_bias(args.bias, args.n, rounded, queue);
  return rounded;
}

void multiply(const MatMul& args, const MatMulPlan& plan, const void* bias, Queue& queue) {
  const auto checked = [&](auto status) { check(status, [&] { return describe(args); }); };
  if (const void* vector = plan.sums ? args.a_sum : bias)
    checked(cublasLtMatmulDescSetAttribute(plan.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector,
                                           sizeof vector));
  const float alpha = 1.0f, beta = args.accumulate ? 1.0f : 0.0f;
  checked(cublasLtMatmul(queue.blas(), plan.operation.get(), &alpha, args.b, plan.b.get(), args.a,
                         plan.a.get(), &beta, args.c, plan.c.get(), args.c, plan.c.get(), &plan.algorithm,
                         queue.blas_workspace(), queue.matmul_plans().product_bytes(), queue.stream()));
  if (queue.options().synchronise_each_launch) checked(cudaStreamSynchronize(queue.stream()));
}

}  // namespace

void run(const MatMul& args, Queue& queue) {
  if (args.m == 0) return;
  bool summed = false;
  if (args.n > 0 && args.k == 0) {
    set_to_bias(args, queue);
  } else if (args.n > 0) {
    const void* bias = bias_of(args, queue);
    const MatMulPlan& plan = queue.matmul_plans().plan(args, bias);
    multiply(args, plan, bias, queue);
    summed = plan.sums;
  }
  if (args.a_sum && !summed) sum_terms(args, queue);
}

}  // namespace scrawl::cuda
