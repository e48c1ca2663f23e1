#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/scratch.h"
#include "kernels/simt/options.h"

namespace scrawl::simt {

/// Where simulated kernels run, one after another, and how they are scheduled.  A kernel's fault (see
/// fault.h) is thrown from its launch.
class Queue {
 public:
  /// `memory` is what its kernels work in, and outlives it.
  explicit Queue(MemorySource& memory, const Options& options = {});
  /// With memory from the heap.
  explicit Queue(const Options& options = {});
  ~Queue() { join(); }  // so that an observer knows
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const Options& options() const { return options_; }
  /// Operating system threads that run blocks.
  int threads() const { return threads_; }
  int multiprocessors() const { return options_.multiprocessors; }
  int compute_capability() const { return options_.compute_capability; }
  /// Aligned to 256 bytes, for kernels that are launched on this lane while it is held.  Filled with NaN, so
  /// that reads of what no kernel wrote show in the results.
  Scratch scratch(int64_t elements);
  /// Zeros for kernels to count with, which they leave as zeros; see device/last_block.cuh.  Throws
  /// std::logic_error when one has not.
  unsigned* counters(int64_t count);
  /// Kernels are done when their launch returns.
  void synchronise() { join(); }

  /// Lanes as on a GPU (cuda/runtime/queue.h), which take memory as there and are known to an observer; what
  /// is launched on them runs at once, too.
  void begin_aside();
  void begin_background();
  void end_beside() {}
  void turn_back();
  void join();
  void join_oldest_aside();
  /// Launches so far: shuffled orders differ from one to the next.
  uint64_t next_launch() { return launches_++; }

 private:
  MemorySource& memory_;
  Options options_;
  int threads_;
  uint64_t launches_ = 0;
  std::deque<AsideMemory> aside_, background_;  // of runs that were not joined
  AsideMemory* beside_ = nullptr;               // of the one that is launched
  std::vector<unsigned> counters_;
};

}  // namespace scrawl::simt
