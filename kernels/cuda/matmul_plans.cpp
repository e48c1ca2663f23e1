#include "kernels/cuda/matmul_plans.h"

#include <stdexcept>

#include "kernels/cuda/check.h"

namespace scrawl::cuda {

namespace {

/// The largest power of two up to 256 that divides an address; 0 for null.
int alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  return address == 0 ? 0 : static_cast<int>((address | 256) & ~((address | 256) - 1));
}

cudaDataType_t type_of(DType dtype, const std::string& what) {
  if (dtype == DType::f32) return CUDA_R_32F;
  if (dtype == DType::bf16) return CUDA_R_16BF;
  throw std::invalid_argument(what + ": matrices are f32 or bf16");
}

MatMulPlan::Layout layout_of(cudaDataType_t type, int64_t rows, int64_t columns, int64_t ld,
                             const std::string& what) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type, rows, columns, ld), what);
  return MatMulPlan::Layout(layout);
}

class Preference {
 public:
  explicit Preference(const std::string& what) : what_(what) {
    check(cublasLtMatmulPreferenceCreate(&handle_), what_);
  }
  ~Preference() { cublasLtMatmulPreferenceDestroy(handle_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;

  template <typename T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    check(cublasLtMatmulPreferenceSetAttribute(handle_, attribute, &value, sizeof value), what_);
  }
  cublasLtMatmulPreference_t get() const { return handle_; }

 private:
  const std::string& what_;
  cublasLtMatmulPreference_t handle_ = nullptr;
};

}  // namespace

std::string describe(const MatMul& args) {
  return fmt::format("matmul {}, [{}, {}] x [{}, {}] in {} to {}", args.name, args.m, args.k, args.k, args.n,
                     name_of(args.dtype), name_of(args.c_dtype));
}

/// Not a success when cuBLASLt has no algorithm.  `vector`: the bias that is added, or where a_sum goes; or
/// null.
cublasStatus_t MatMulPlans::choose(const MatMul& args, const Problem& problem, const void* vector,
                                   MatMulPlan& plan) {
  const std::string what = describe(args);
  const cudaDataType_t type = type_of(args.dtype, what);
  // By default products of f32 are computed in f32 all the way.
  const bool fast = tf32_ && args.dtype == DType::f32;
  cublasLtMatmulDesc_t operation = nullptr;
  check(cublasLtMatmulDescCreate(&operation, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                 CUDA_R_32F),
        what);
  plan.operation.reset(operation);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    check(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value), what);
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, args.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, args.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (vector) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, plan.sums ? CUBLASLT_EPILOGUE_BGRADB : CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);  // its alignment matters
  }
  plan.a = args.transpose_a ? layout_of(type, args.m, args.k, args.lda, what)
                            : layout_of(type, args.k, args.m, args.lda, what);
  plan.b = args.transpose_b ? layout_of(type, args.k, args.n, args.ldb, what)
                            : layout_of(type, args.n, args.k, args.ldb, what);
  plan.c = layout_of(type_of(args.c_dtype, what), args.n, args.m, args.ldc, what);

  Preference preference(what);
  preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace_bytes_));
  // Sums that are cut into parts: parts stay in fp32 and are added in a step of their own, in order, so that
  // two runs give the same bits.
  preference.set(
      CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(problem.b_alignment));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(problem.a_alignment));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(problem.c_alignment));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(problem.c_alignment));

  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(blas_, operation, plan.b.get(), plan.a.get(), plan.c.get(), plan.c.get(),
                                     preference.get(), 1, &result, &found);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (found == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  plan.algorithm = result.algo;
  return CUBLAS_STATUS_SUCCESS;
}

const MatMulPlan& MatMulPlans::plan(const MatMul& args) {
  const Problem problem{args.dtype,
                        args.c_dtype,
                        args.transpose_a,
                        args.transpose_b,
                        args.accumulate,
                        args.m,
                        args.n,
                        args.k,
                        args.lda,
                        args.ldb,
                        args.ldc,
                        alignment_of(args.a),
                        alignment_of(args.b),
                        alignment_of(args.c),
                        alignment_of(args.bias),
                        alignment_of(args.a_sum)};
  if (const auto known = plans_.find(problem); known != plans_.end()) return known->second;
  MatMulPlan plan;
  // The sum of our a's terms comes for free where cuBLASLt can: it writes in c's type, and never adds.
  plan.sums = args.a_sum && !args.bias && !args.accumulate && args.c_dtype == DType::f32;
  if (!plan.sums || choose(args, problem, args.a_sum, plan) != CUBLAS_STATUS_SUCCESS) {
    plan.sums = false;
    check(choose(args, problem, args.bias, plan), describe(args) + ": choosing an algorithm");
  }
  return plans_.emplace(problem, std::move(plan)).first->second;
}

}  // namespace scrawl::cuda
