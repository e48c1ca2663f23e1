#pragma once
// How cuBLASLt computes each matrix product that a queue has met: chosen once, then reused.
#include <cublasLt.h>

#include <compare>
#include <map>
#include <memory>
#include <string>

#include "kernels/matmul.h"

namespace scrawl::cuda {

/// A product's descriptions for cuBLASLt, which thinks column by column: our row-major c = op(a) · op(b) is
/// its cᵀ = op(b)ᵀ · op(a)ᵀ, so that its first factor is our b and its second one our a.
struct MatMulPlan {
  struct Destroy {
    void operator()(cublasLtMatmulDescOpaque_t* p) const { cublasLtMatmulDescDestroy(p); }
    void operator()(cublasLtMatrixLayoutOpaque_t* p) const { cublasLtMatrixLayoutDestroy(p); }
  };
  using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy>;

  std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy> operation;
  Layout a, b, c;  // of our a, b and c
  cublasLtMatmulAlgo_t algorithm{};
  int64_t workspace_bytes = 0;  // that the algorithm works in
};

class MatMulPlans {
 public:
  /// `most_workspace_bytes`: that an algorithm may work in.  `tf32`: see Options.
  MatMulPlans(cublasLtContext* blas, int64_t most_workspace_bytes, bool tf32)
      : blas_(blas), most_workspace_bytes_(most_workspace_bytes), tf32_(tf32) {}

  /// For a product on `stream`, which tells whether algorithms may be tried out: not while it is captured.
  /// Valid as long as this object.  Throws std::runtime_error when cuBLASLt has no algorithm.
  const MatMulPlan& plan(const MatMul& args, CUstream_st* stream);

 private:
  /// What a choice may depend on.
  struct Problem {
    DType dtype, c_dtype;
    bool transpose_a, transpose_b, accumulate;
    int64_t m, n, k, lda, ldb, ldc;
    // Of every row, in bytes; 0 without.
    int a_alignment, b_alignment, c_alignment, bias_alignment, addend_alignment;
    auto operator<=>(const Problem&) const = default;
  };
  MatMulPlan chosen(const MatMul& args, const Problem& problem, int proposals);

  cublasLtContext* blas_;
  int64_t most_workspace_bytes_;
  bool tf32_;
  std::map<Problem, MatMulPlan> plans_;
};

/// "matmul linear.forward, [76800, 64] x [64, 256] in bf16 to bf16"
std::string describe(const MatMul& args);

}  // namespace scrawl::cuda
