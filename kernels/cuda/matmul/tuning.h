#pragma once
// Which of the algorithms that cuBLASLt proposes is the fastest.
#include <vector>

#include "kernels/cuda/matmul/plans.h"

namespace scrawl::cuda {

/// Whether a product is so large that trying out algorithms pays.
bool is_worth_tuning(const MatMul& args);

/// The fastest of several algorithms, the first of which has been proposed first, in memory of its own and on
/// a stream of its own.  Only those are considered that cut sums into as many parts as the first and that
/// give, from random factors, the same bits: so the choice, which depends on what else the GPU does
/// meanwhile, never shows in a result.  The first one without trying when there is no memory for it.
const cublasLtMatmulHeuristicResult_t& fastest(const MatMul& args, const MatMulPlan& plan,
                                               const std::vector<cublasLtMatmulHeuristicResult_t>& proposed,
                                               cublasLtContext* blas);

}  // namespace scrawl::cuda
