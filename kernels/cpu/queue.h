#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace scrawl::cpu {

/// Where CPU kernels run: a number of OpenMP threads and one scratch buffer.  Kernels of a queue run one
/// after another, so they may all use the same scratch.
class Queue {
 public:
  /// `threads` 0 takes all cores that this process may use.
  explicit Queue(int threads = 0);

  int threads() const { return threads_; }
  /// At least `elements` floats, aligned to 64 bytes, contents undefined; valid until the next call.
  float* scratch(int64_t elements);
  /// Kernels are done when they return.
  void synchronise() {}
  /// Frees it; it comes back when it is asked for.
  void release_scratch();
  int64_t scratch_bytes() const { return capacity_ * static_cast<int64_t>(sizeof(float)); }

 private:
  struct Free {
    void operator()(float* pointer) const;
  };
  int threads_;
  int64_t capacity_ = 0;
  std::unique_ptr<float[], Free> scratch_;
};

}  // namespace scrawl::cpu
