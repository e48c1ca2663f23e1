#pragma once
#include <cstdint>
#include <vector>

struct CUevent_st;

namespace scrawl::cuda {

class Queue;

/// Copies single numbers into pinned host memory, in order with the queue's kernels.
class Readback {
 public:
  Readback(Queue& queue, int capacity);
  ~Readback();
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;

  /// Starts a copy; throws std::runtime_error when `capacity` numbers wait to be taken.
  void push(const float* device_number);
  /// What was pushed before the last call, after waiting for it if need be.
  std::vector<float> arrived();
  /// Waits for everything and returns what was not taken yet.
  std::vector<float> rest();

 private:
  std::vector<float> take_until(int64_t end);

  Queue& queue_;
  int64_t capacity_;
  float* ring_ = nullptr;                        // pinned; number i lies at i % capacity
  int64_t pushed_ = 0, marked_ = 0, taken_ = 0;  // numbers so far; marked_ by the event
  CUevent_st* mark_ = nullptr;
};

}  // namespace scrawl::cuda
