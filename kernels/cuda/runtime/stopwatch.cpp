#include "kernels/cuda/runtime/stopwatch.h"

#include <algorithm>
#include <chrono>

#include "kernels/cuda/runtime/check.h"
#include "kernels/cuda/runtime/queue.h"

namespace scrawl::cuda {

namespace {

/// Holds the stream until the gate opens, but not for ever: a first launch may wait for the stream to load a
/// kernel's code.
void wait_for_gate(void* open) {
  constexpr auto kMost = std::chrono::milliseconds(2);
  const auto begin = std::chrono::steady_clock::now();
  while (!static_cast<std::atomic<bool>*>(open)->load(std::memory_order_acquire))
    if (std::chrono::steady_clock::now() - begin > kMost) return;
}

}  // namespace

Stopwatch::Stopwatch(Queue& queue) : queue_(queue) {
  check(cudaEventCreate(&begin_), "event to time kernels");
  check(cudaEventCreate(&end_), "event to time kernels");
  double shortest = 1.0;
  for (int i = 0; i < 8; ++i) {
    start();
    shortest = std::min(shortest, stop());
  }
  of_nothing_ = shortest;
}

Stopwatch::~Stopwatch() {
  cudaStreamSynchronize(queue_.stream());
  if (begin_) cudaEventDestroy(begin_);
  if (end_) cudaEventDestroy(end_);
}

void Stopwatch::start() {
  if (!queue_.options().synchronise_each_launch) {
    open_ = false;
    check(cudaLaunchHostFunc(queue_.stream(), wait_for_gate, &open_), "holding kernels back to time them");
  }
  check(cudaEventRecord(begin_, queue_.stream()), "timing kernels");
}

double Stopwatch::stop() {
  check(cudaEventRecord(end_, queue_.stream()), "timing kernels");
  open_.store(true, std::memory_order_release);
  check(cudaEventSynchronize(end_), "waiting for a timed kernel");
  float milliseconds = 0.0f;
  check(cudaEventElapsedTime(&milliseconds, begin_, end_), "timing kernels");
  return std::max(0.0, 1e-3 * static_cast<double>(milliseconds) - of_nothing_);
}

}  // namespace scrawl::cuda
