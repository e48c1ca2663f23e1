#pragma once
#include <cstdint>
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

  const Options& options() const { return options_; }
  /// Operating system threads that run blocks.
  int threads() const { return threads_; }
  int multiprocessors() const { return options_.multiprocessors; }
  int compute_capability() const { return options_.compute_capability; }
  /// Aligned to 256 bytes, for kernels that are launched while it is held.  Filled with NaN, so that reads of
  /// what no kernel wrote show in the results.
  Scratch scratch(int64_t elements);
  /// Zeros for kernels to count with, which they leave as zeros; see device/last_block.cuh.  Throws
  /// std::logic_error when one has not.
  unsigned* counters(int64_t count);
  /// Kernels are done when their launch returns.
  void synchronise() {}
  /// Launches so far: shuffled orders differ from one to the next.
  uint64_t next_launch() { return launches_++; }

 private:
  MemorySource& memory_;
  Options options_;
  int threads_;
  uint64_t launches_ = 0;
  std::vector<unsigned> counters_;
};

}  // namespace scrawl::simt
