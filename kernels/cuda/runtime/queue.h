#pragma once
// No CUDA header is included here, so that the engine needs none to hold a queue.
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/scratch.h"

struct CUevent_st;
struct CUstream_st;
struct cublasLtContext;

namespace scrawl::cuda {

class MatMulPlans;

struct Options {
  int device = 0;
  /// Matrix products of f32 by tensor cores, which keep 10 of the 23 bits of a factor's mantissa.
  bool tf32 = false;
  int compute_capability = 0;  // of the GPU that kernels are chosen for; 0: of this one
  bool cublas_only = false;  // products by cuBLASLt even where kernels of our own are faster: to compare with
  bool synchronise_each_launch = false;  // for the debugger: a failing kernel is named at once
};

/// Why kernels cannot run on a GPU of this machine ("no NVIDIA driver is installed"); empty when they can.
std::string absence(int device = 0);

/// "CUDA 13.0 (driver for 13.1), cuBLASLt 13.1.0"
std::string library_versions();

/// Where kernels of one GPU run: a cuBLASLt handle, and a lane of kernels that run one after another, so that
/// what one works in may go to the next.  Two more lanes take kernels that may run beside them.
class Queue {
 public:
  /// `memory` is what its kernels work in, and outlives it.  Throws std::runtime_error when there is no such
  /// device; see absence().
  explicit Queue(MemorySource& memory, const Options& options = {});
  virtual ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const Options& options() const { return options_; }
  CUstream_st* stream() const { return lane_->stream; }
  cublasLtContext* blas() const { return blas_; }
  /// How the queue's matrix products are computed; see matmul/plans.h.
  MatMulPlans& matmul_plans() const { return *matmul_plans_; }

  const std::string& device_name() const { return device_name_; }
  /// Of the GPU that kernels are chosen for, major · 10 + minor: 90 for Hopper.
  int compute_capability() const { return compute_capability_; }
  int multiprocessors() const { return multiprocessors_; }
  int64_t memory_bytes() const { return memory_bytes_; }
  /// Most shared memory a block may ask for.
  int64_t shared_bytes_limit() const { return shared_bytes_limit_; }

  /// Aligned to 256 bytes, for kernels that are launched on this lane while it is held.
  Scratch scratch(int64_t elements);

  /// What is launched from here to end_beside() waits for what was launched before and may run beside what is
  /// launched after turn_back(), until it is joined.  Runs aside follow one another.  Of a failure
  /// turn_back() alone is told.
  void begin_aside();
  /// The same for what is in no hurry: it waits for kernels aside, too, and gives way to all others.
  void begin_background();
  void end_beside();
  void turn_back() { lane_ = &main_; }
  /// What is launched from here on waits for all that was launched beside, or for the oldest run aside, if
  /// there is one.
  void join();
  void join_oldest_aside();
  /// What was not joined is never waited for: it was captured, and the capture has been abandoned.
  void forget_beside();

  /// Lets blocks of a kernel ask for so many bytes of shared memory.  Never for less than before: captured
  /// launches may ask for those.
  void allow_shared_bytes(const void* kernel, int64_t bytes);

  /// Zeros for kernels of this lane to count with, which they leave as zeros; see device/last_block.cuh.
  /// Throws std::invalid_argument for more than there are.
  unsigned* counters(int64_t count);
  /// Waits until all kernels are done; throws what went wrong in them.
  void synchronise();

 private:
  Options options_;
  /// What was launched beside others in one go.
  struct Run {
    AsideMemory memory;  // until it is joined
    CUevent_st* end;
    Run(MemorySource& source, CUevent_st* event) : memory(source), end(event) {}
  };
  /// Kernels in order, and what only one of them uses at a time.
  struct Lane {
    CUstream_st* stream = nullptr;
    unsigned* counters = nullptr;
    std::deque<Run> runs;  // those that were not joined; none on the main lane
  };
  /// Where there is room for one lane's kernels alone, it is for those of the higher urgency.
  enum class Urgency { background, aside, main };
  void open(Lane& lane, Urgency urgency);
  CUevent_st* new_event();
  /// What is launched from here on goes on a lane, and waits for the main one.
  void turn_to(Lane& lane);
  void join(Lane& lane);
  void forget(Lane& lane);

  MemorySource& memory_;
  Lane main_, aside_, background_;
  Lane* lane_ = &main_;
  CUevent_st* fork_ = nullptr;      // where the main lane was when another went on beside it
  std::vector<CUevent_st*> spare_;  // events that nobody waits for
  cublasLtContext* blas_ = nullptr;
  std::unique_ptr<MatMulPlans> matmul_plans_;
  std::string device_name_;
  int compute_capability_ = 0;
  int multiprocessors_ = 0;
  int64_t memory_bytes_ = 0;
  int64_t shared_bytes_limit_ = 0;
  std::map<const void*, int64_t> allowed_shared_bytes_;
};

}  // namespace scrawl::cuda
