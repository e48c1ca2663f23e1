#pragma once
#include <cstdint>

struct CUevent_st;
struct CUstream_st;

namespace scrawl::cuda {

class Queue;

/// Copies from pinned memory on a stream of their own, beside the queue's kernels.
class Uploads {
 public:
  explicit Uploads(Queue& queue);
  /// Waits for what is under way.
  ~Uploads();
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;

  void start(void* device, const void* pinned, int64_t bytes);
  /// Copies started from here on wait for the kernels launched so far.
  void after_kernels();
  /// Kernels launched from here on wait for the copies started so far.
  void before_kernels();

 private:
  void let_wait(CUstream_st* waiting, CUstream_st* for_stream);

  Queue& queue_;
  CUstream_st* stream_ = nullptr;
  CUevent_st* event_ = nullptr;
};

}  // namespace scrawl::cuda
