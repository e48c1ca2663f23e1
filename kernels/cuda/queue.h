#pragma once
// No CUDA header is included here, so that the engine needs none to hold a queue.
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

struct CUevent_st;
struct CUstream_st;
struct cublasLtContext;

namespace scrawl::cuda {

class MatMulPlans;

struct Options {
  int device = 0;
  /// Matrix products of f32 by tensor cores, which keep 10 of the 23 bits of a factor's mantissa.
  bool tf32 = false;
  bool cublas_only = false;  // products by cuBLASLt even where kernels of our own are faster: to compare with
  bool synchronise_each_launch = false;  // for the debugger: a failing kernel is named at once
};

/// Why kernels cannot run on a GPU of this machine ("no NVIDIA driver is installed"); empty when they can.
std::string absence(int device = 0);

/// "CUDA 13.0 (driver for 13.1), cuBLASLt 13.1.0"
std::string library_versions();

/// Where kernels of one GPU run: a cuBLASLt handle, and a lane of kernels that run one after another and so
/// may all use the same scratch and workspace.  A second lane takes kernels that may run beside them.
class Queue {
 public:
  /// Throws std::runtime_error when there is no such device; see absence().
  explicit Queue(const Options& options = {});
  virtual ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const Options& options() const { return options_; }
  CUstream_st* stream() const { return lane_->stream; }
  cublasLtContext* blas() const { return blas_; }
  void* blas_workspace() const { return lane_->blas_workspace; }
  int64_t blas_workspace_bytes() const;
  /// How the queue's matrix products are computed; see matmul_plans.h.
  MatMulPlans& matmul_plans() const { return *matmul_plans_; }

  const std::string& device_name() const { return device_name_; }
  /// Major · 10 + minor, 90 for Hopper.
  int compute_capability() const { return compute_capability_; }
  int multiprocessors() const { return multiprocessors_; }
  int64_t memory_bytes() const { return memory_bytes_; }
  /// Most shared memory a block may ask for.
  int64_t shared_bytes_limit() const { return shared_bytes_limit_; }

  /// At least `elements` floats, aligned to 256 bytes, contents undefined; valid until the next call for
  /// kernels that are launched.  Grows outside graph capture only; once something was captured, buffers that
  /// it outgrew are kept, since graphs may still use them.
  float* scratch(int64_t elements);
  /// From here on graphs may use the scratch that is there.
  void keep_scratch() { keeps_scratch_ = true; }
  /// Frees all of it; no graph may be left.
  void release_scratch();
  /// What kernels and cuBLASLt have to work in.
  int64_t scratch_bytes() const;

  /// What is launched between begin_aside() and end_aside() waits for what was launched before and may run
  /// beside what is launched after, until it is joined.
  void begin_aside();
  void end_aside();
  /// What is launched from here on waits for what was launched aside: for all, or for what went first of
  /// those that were not joined.
  void join();
  void join_first();

  /// The same for matrix products of our own, whose callers keep their factors in scratch(): the memory that
  /// cuBLASLt works in.  Throws std::invalid_argument for more than there is.
  float* product_scratch(int64_t elements);
  /// Zeros for kernels of this lane to count with, which they leave as zeros; see device/last_block.cuh.
  /// Throws std::invalid_argument for more than there are.
  unsigned* counters(int64_t count);
  /// Waits until all kernels are done; throws what went wrong in them.
  void synchronise();

 private:
  Options options_;
  /// Kernels in order, and what only one of them uses at a time.
  struct Lane {
    CUstream_st* stream = nullptr;
    void* blas_workspace = nullptr;
    unsigned* counters = nullptr;
    std::vector<float*> scratch;  // the last one is in use
    int64_t scratch_capacity = 0;
    int64_t scratch_total = 0;  // bytes of all
  };
  void open(Lane& lane);
  CUevent_st* new_event();
  void release_scratch(Lane& lane);

  Lane main_, aside_;
  Lane* lane_ = &main_;
  CUevent_st* fork_ = nullptr;      // where the main lane was when the last went aside
  std::deque<CUevent_st*> asides_;  // the ends of those that were not joined
  std::vector<CUevent_st*> spare_;  // events that nobody waits for
  cublasLtContext* blas_ = nullptr;
  std::unique_ptr<MatMulPlans> matmul_plans_;
  std::string device_name_;
  int compute_capability_ = 0;
  int multiprocessors_ = 0;
  int64_t memory_bytes_ = 0;
  int64_t shared_bytes_limit_ = 0;
  bool keeps_scratch_ = false;
};

}  // namespace scrawl::cuda
