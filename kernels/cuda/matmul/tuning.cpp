#include "kernels/cuda/matmul/tuning.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "kernels/cuda/runtime/check.h"
#include "kernels/cuda/runtime/graph_clears.h"

namespace scrawl::cuda {

namespace {

constexpr int kRounds = 3, kRunsOfRound = 8;
constexpr float kGain = 0.97f;                    // of the time: less than 3 % may be chance
constexpr int64_t kPatternBytes = (1 << 20) - 6;  // no multiple of a row's length
constexpr int64_t kMostOffset = 12345;            // values by which the factors differ
constexpr int64_t kComparedBytes = 1 << 18;       // at either end of the result

struct Free {
  void operator()(std::byte* memory) const { cudaFree(memory); }
};
using Memory = std::unique_ptr<std::byte, Free>;

/// Null when there is no more.
Memory allocate(size_t bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, std::max<size_t>(bytes, 256)) == cudaSuccess)
    return Memory(static_cast<std::byte*>(memory));
  cudaGetLastError();
  return {};
}

/// Values of either sign from 0.5 to 2, drawn once.
const std::vector<uint16_t>& pattern() {
  static const std::vector<uint16_t> values = [] {
    std::mt19937 random;
    std::vector<uint16_t> drawn(kPatternBytes / 2 + kMostOffset);
    for (uint16_t& value : drawn) value = static_cast<uint16_t>(0x3F00 | (random() & 0x80FF));
    return drawn;
  }();
  return values;
}

/// The pattern from one of its values on, over and over.
void fill(std::byte* memory, int64_t bytes, int64_t offset) {
  for (int64_t done = 0; done < bytes;) {
    const int64_t count = std::min(bytes - done, std::max(done, kPatternBytes));
    const void* from = done == 0 ? static_cast<const void*>(pattern().data() + offset) : memory;
    check(
        cudaMemcpy(memory + done, from, count, done == 0 ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToDevice),
        "random factors");
    done += count;
  }
}

/// Launches as a graph.
class Round {
 public:
  template <typename Launches>
  Round(cudaStream_t stream, Launches launches) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "capturing products");
    launches();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream, &graph), "capturing products");
    clear_by_kernels(graph);
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "making captured products executable");
  }
  ~Round() { cudaGraphExecDestroy(executable_); }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  cudaGraphExec_t executable() const { return executable_; }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

/// A product's own operands, and the stream that it is tried out on.
class Trial {
 public:
  Trial(const MatMul& args, const MatMulPlan& plan, size_t workspace_bytes, cublasLtContext* blas)
      : args_(args), plan_(plan), blas_(blas), workspace_bytes_(workspace_bytes) {
    const int64_t element = size_of(args.dtype);
    a_bytes_ = (args.transpose_a ? args.k : args.m) * args.lda * element;
    b_bytes_ = (args.transpose_b ? args.n : args.k) * args.ldb * element;
    c_bytes_ = args.m * args.ldc * size_of(args.c_dtype);
    a_ = allocate(a_bytes_);
    b_ = allocate(b_bytes_);
    c_ = allocate(c_bytes_);
    addend_ = allocate(args.addend ? c_bytes_ : 0);
    workspace_ = allocate(workspace_bytes);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream to try out products");
    check(cudaEventCreate(&begin_), "event to time products");
    check(cudaEventCreate(&end_), "event to time products");
    if (!has_memory()) return;
    fill(a_.get(), a_bytes_, 0);
    fill(b_.get(), b_bytes_, kMostOffset);
    if (args.addend) fill(addend_.get(), c_bytes_, 0);
    check(cudaDeviceSynchronize(), "random factors");
  }
  ~Trial() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  bool has_memory() const { return a_ && b_ && c_ && addend_ && workspace_; }

  /// Both ends of the result; empty when the algorithm does not work.
  std::vector<std::byte> result(const cublasLtMatmulAlgo_t& algorithm) const {
    check(cudaMemsetAsync(c_.get(), 0, c_bytes_, stream_), "result");
    if (!run(algorithm)) return {};
    check(cudaStreamSynchronize(stream_), "trying out a product");
    const int64_t count = std::min(c_bytes_, kComparedBytes);
    std::vector<std::byte> bytes(2 * count);
    check(cudaMemcpy(bytes.data(), c_.get(), count, cudaMemcpyDeviceToHost), "result");
    check(cudaMemcpy(bytes.data() + count, c_.get() + c_bytes_ - count, count, cudaMemcpyDeviceToHost),
          "result");
    return bytes;
  }

  /// Milliseconds of the fastest round, which is a graph, as a step of training is.
  float time(const cublasLtMatmulAlgo_t& algorithm) const {
    const Round runs(stream_, [&] {
      for (int i = 0; i < kRunsOfRound; ++i) run(algorithm);
    });
    float least = INFINITY;
    for (int round = 0; round < kRounds; ++round) {
      check(cudaEventRecord(begin_, stream_), "timing a product");
      check(cudaGraphLaunch(runs.executable(), stream_), "timing a product");
      check(cudaEventRecord(end_, stream_), "timing a product");
      check(cudaEventSynchronize(end_), "timing a product");
      float milliseconds = 0.0f;
      check(cudaEventElapsedTime(&milliseconds, begin_, end_), "timing a product");
      least = std::min(least, milliseconds);
    }
    return least;
  }

 private:
  bool run(const cublasLtMatmulAlgo_t& algorithm) const {
    const void* const added = args_.addend ? addend_.get() : c_.get();
    const float alpha = 1.0f, beta = args_.accumulate || args_.addend ? 1.0f : 0.0f;
    return cublasLtMatmul(blas_, plan_.operation.get(), &alpha, b_.get(), plan_.b.get(), a_.get(),
                          plan_.a.get(), &beta, added, plan_.c.get(), c_.get(), plan_.c.get(), &algorithm,
                          workspace_.get(), workspace_bytes_, stream_) == CUBLAS_STATUS_SUCCESS;
  }

  const MatMul& args_;
  const MatMulPlan& plan_;
  cublasLtContext* blas_;
  size_t workspace_bytes_;
  int64_t a_bytes_ = 0, b_bytes_ = 0, c_bytes_ = 0;
  Memory a_, b_, c_, addend_, workspace_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// Of the terms of a sum: into how many an algorithm cuts them.
int32_t parts_of(const cublasLtMatmulAlgo_t& algorithm) {
  int32_t parts = 0;
  size_t written = 0;
  check(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts,
                                             sizeof parts, &written),
        "an algorithm's parts");
  return parts;
}

}  // namespace

bool is_worth_tuning(const MatMul& args) {
  return args.dtype == DType::bf16 && args.m * args.n * args.k >= int64_t{1} << 22;
}

const cublasLtMatmulHeuristicResult_t& fastest(const MatMul& args, const MatMulPlan& plan,
                                               const std::vector<cublasLtMatmulHeuristicResult_t>& proposed,
                                               cublasLtContext* blas) {
  const cublasLtMatmulHeuristicResult_t& first = proposed.front();
  if (proposed.size() == 1) return first;
  size_t workspace_bytes = 0;
  for (const auto& each : proposed) workspace_bytes = std::max(workspace_bytes, each.workspaceSize);
  const Trial trial(args, plan, workspace_bytes, blas);
  if (!trial.has_memory()) return first;
  const std::vector<std::byte> wanted = trial.result(first.algo);
  if (wanted.empty()) return first;
  const cublasLtMatmulHeuristicResult_t* best = &first;
  float least = trial.time(first.algo);
  for (size_t i = 1; i < proposed.size(); ++i) {
    const cublasLtMatmulAlgo_t& algorithm = proposed[i].algo;
    if (parts_of(algorithm) != parts_of(first.algo) || trial.result(algorithm) != wanted) continue;
    const float time = trial.time(algorithm);
    if (time >= kGain * least) continue;
    least = time;
    best = &proposed[i];
  }
  return *best;
}

}  // namespace scrawl::cuda
