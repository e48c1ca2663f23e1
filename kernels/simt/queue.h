#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/simt/options.h"

namespace scrawl::simt {

/// Where simulated kernels run: how they are scheduled, and two buffers for passing results.  Kernels of a
/// queue run one after another, so they may all use the same ones.  A kernel's fault (see fault.h) is thrown
/// from its launch.
class Queue {
 public:
  explicit Queue(const Options& options = {});

  const Options& options() const { return options_; }
  /// Operating system threads that run blocks.
  int threads() const { return threads_; }
  int multiprocessors() const { return options_.multiprocessors; }
  /// At least `elements` floats, aligned to 256 bytes; valid until the next call.  Filled with NaN, so that
  /// reads of what no kernel wrote show in the results.
  float* scratch(int64_t elements);
  /// The same for matrix products, whose callers keep their factors in scratch().
  float* product_scratch(int64_t elements);
  /// Zeros for kernels to count with, which they leave as zeros; see device/last_block.cuh.  Throws
  /// std::logic_error when one has not.
  unsigned* counters(int64_t count);
  /// Frees both; they come back when they are asked for.
  void release_scratch() {
    scratch_ = {};
    product_scratch_ = {};
  }
  int64_t scratch_bytes() const { return scratch_.bytes + product_scratch_.bytes; }
  /// Kernels are done when their launch returns.
  void synchronise() {}
  /// Launches so far: shuffled orders differ from one to the next.
  uint64_t next_launch() { return launches_++; }

 private:
  struct Free {
    void operator()(float* pointer) const;
  };
  struct Buffer {
    std::unique_ptr<float[], Free> data;
    int64_t bytes = 0;
    float* renewed(int64_t elements);
  };
  Options options_;
  int threads_;
  uint64_t launches_ = 0;
  Buffer scratch_, product_scratch_;
  std::vector<unsigned> counters_;
};

}  // namespace scrawl::simt
