#include "kernels/cuda/matmul/plans.h"

#include <stdexcept>

#include "kernels/cuda/matmul/tuning.h"
#include "kernels/cuda/runtime/check.h"

namespace scrawl::cuda {

namespace {

constexpr int kProposals = 12;  // of cuBLASLt, that are tried out

/// The largest power of two up to 256 that divides the addresses of rows that are `stride` bytes apart; 0 for
/// null.  Told of the first row alone, cuBLASLt has taken algorithms that are hundreds of times slower.
int alignment_of(const void* pointer, int64_t stride = 256) {
  if (!pointer) return 0;
  const uintptr_t bits = reinterpret_cast<uintptr_t>(pointer) | static_cast<uintptr_t>(stride) | 256;
  return static_cast<int>(bits & ~(bits - 1));
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

bool is_captured(CUstream_st* stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "asking whether a graph is captured");
  return status != cudaStreamCaptureStatusNone;
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

MatMulPlan MatMulPlans::chosen(const MatMul& args, const Problem& problem, int proposals) {
  MatMulPlan plan;
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
  if (args.bias) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, args.bias);  // its alignment matters
  }
  plan.a = args.transpose_a ? layout_of(type, args.m, args.k, args.lda, what)
                            : layout_of(type, args.k, args.m, args.lda, what);
  plan.b = args.transpose_b ? layout_of(type, args.k, args.n, args.ldb, what)
                            : layout_of(type, args.n, args.k, args.ldb, what);
  plan.c = layout_of(type_of(args.c_dtype, what), args.n, args.m, args.ldc, what);

  Preference preference(what);
  preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(most_workspace_bytes_));
  // Sums that are cut into parts: parts stay in fp32 and are added in a step of their own, in order, so that
  // two runs give the same bits.
  preference.set(
      CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(problem.b_alignment));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(problem.a_alignment));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                 static_cast<uint32_t>(args.addend ? problem.addend_alignment : problem.c_alignment));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(problem.c_alignment));

  std::vector<cublasLtMatmulHeuristicResult_t> proposed(proposals);
  int found = 0;
  check(cublasLtMatmulAlgoGetHeuristic(blas_, operation, plan.b.get(), plan.a.get(), plan.c.get(),
                                       plan.c.get(), preference.get(), proposals, proposed.data(), &found),
        what + ": choosing an algorithm");
  if (found == 0) throw std::runtime_error(what + ": cuBLASLt has no algorithm");
  proposed.resize(found);
  const cublasLtMatmulHeuristicResult_t& choice = fastest(args, plan, proposed, blas_);
  plan.algorithm = choice.algo;
  plan.workspace_bytes = static_cast<int64_t>(choice.workspaceSize);
  return plan;
}

const MatMulPlan& MatMulPlans::plan(const MatMul& args, CUstream_st* stream) {
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
                        alignment_of(args.a, args.lda * size_of(args.dtype)),
                        alignment_of(args.b, args.ldb * size_of(args.dtype)),
                        alignment_of(args.c, args.ldc * size_of(args.c_dtype)),
                        alignment_of(args.bias),
                        alignment_of(args.addend, args.ldc * size_of(args.c_dtype))};
  if (const auto known = plans_.find(problem); known != plans_.end()) return known->second;
  const int proposals = is_worth_tuning(args) && !is_captured(stream) ? kProposals : 1;
  return plans_.emplace(problem, chosen(args, problem, proposals)).first->second;
}

}  // namespace scrawl::cuda
