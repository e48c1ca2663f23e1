#pragma once
#include <chrono>
#include <cstdint>
#include <string_view>

#include "engine/memory.h"
#include "engine/profiler.h"
#include "kernels/cpu/queue.h"

namespace scrawl {

namespace detail {
/// A free function, so that `run` below is found next to the queue's namespace, where the kernels are.
template <typename Kernel, typename Queue>
void launch(const Kernel& kernel, Queue& queue) {
  run(kernel, queue);
}
}  // namespace detail

/// Where tensors live and kernels run.  It owns memory and queue, and outlives every tensor made on it.
class Device {
 public:
  struct Options {
    int threads = 0;            // of the cpu device; 0 = all cores
    bool guard_memory = false;  // see Allocator
  };

  Device() : Device(Options{}) {}
  explicit Device(const Options& options) : memory_(options.guard_memory), queue_(options.threads) {}

  std::string_view name() const { return "cpu"; }
  int threads() const { return queue_.threads(); }
  Allocator& memory() { return memory_; }
  /// High-water mark of tensors plus the kernels' scratch, in bytes.
  int64_t peak_bytes() const { return memory_.statistics().peak + queue_.scratch_bytes(); }

  /// The one place that chooses a backend, and that times kernels while a profiler is attached.
  template <typename Kernel>
  void run(const Kernel& kernel) {
    if (!profiler_) return detail::launch(kernel, queue_);
    const auto begin = std::chrono::steady_clock::now();
    detail::launch(kernel, queue_);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    profiler_->add(kernel.name, seconds.count(), kernel.cost());
  }

  /// Copies between host memory and this device's.
  void upload(void* device, const void* host, int64_t bytes);
  void download(void* host, const void* device, int64_t bytes);

  void attach(Profiler* profiler) { profiler_ = profiler; }

 private:
  Allocator memory_;
  cpu::Queue queue_;
  Profiler* profiler_ = nullptr;
};

}  // namespace scrawl
