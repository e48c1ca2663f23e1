#pragma once
#include <atomic>

struct CUevent_st;

namespace scrawl::cuda {

class Queue;

/// Times what is launched on a queue between start() and stop(), on the GPU's own clock.  The queue is held
/// back until stop() has been called, so that the time of launching does not count; what two marks in a row
/// cost is taken off.  Resolution about half a microsecond.
class Stopwatch {
 public:
  explicit Stopwatch(Queue& queue);
  ~Stopwatch();
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  void start();
  /// Waits for what was launched; seconds since start().
  double stop();

 private:
  Queue& queue_;
  CUevent_st *begin_ = nullptr, *end_ = nullptr;
  std::atomic<bool> open_{true};
  double of_nothing_ = 0.0;  // seconds between two marks in a row
};

}  // namespace scrawl::cuda
