#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "engine/graph.h"
#include "engine/memory.h"
#include "engine/profiler.h"
#include "kernels/cpu/queue.h"
#include "kernels/simt/options.h"
#ifdef SCRAWL_SIMT
#include "kernels/simt/queue.h"
#endif
#ifdef SCRAWL_CUDA
#include "kernels/cuda/runtime/profiler_range.h"
#include "kernels/cuda/runtime/queue.h"
#include "kernels/cuda/runtime/stopwatch.h"
#endif
#ifdef SCRAWL_CUDNN
#include "kernels/cuda/cudnn/queue.h"
#endif

namespace scrawl {

enum class DeviceKind {
  cpu,   // plain C++ on the processor
  simt,  // the CUDA kernels, on a simulator that runs on the processor
  cuda,  // the CUDA kernels, on an NVIDIA GPU
};
constexpr std::string_view name_of(DeviceKind kind) {
  constexpr std::string_view names[] = {"cpu", "simt", "cuda"};
  return names[static_cast<int>(kind)];
}

namespace detail {
/// Names a kernel in the time line of NVIDIA's profilers.
#ifdef SCRAWL_CUDA
using cuda::ProfilerRange;
#else
struct ProfilerRange {
  explicit ProfilerRange(std::string_view) {}
};
#endif

/// A free function, so that `run` below is found next to the queue's namespace, where the kernels are.
template <typename Kernel, typename Queue>
void launch(const Kernel& kernel, Queue& queue) {
  run(kernel, queue);
}

/// The library that computes a kernel on this queue; empty where it is one of our own.
template <typename Kernel, typename Queue>
std::string_view library_behind(const Kernel& kernel, const Queue& queue) {
  if constexpr (requires { library_of(kernel, queue); }) return library_of(kernel, queue);
  return {};
}
}  // namespace detail

/// Where tensors live and kernels run.  It owns memory and queue, and outlives every tensor made on it.
class Device {
 public:
  struct Options {
    DeviceKind kind = DeviceKind::cpu;
    int threads = 0;                       // of the processor, for cpu and simt; 0 = all cores
    bool guard_memory = false;             // see Allocator
    simt::Options simt{};                  // how simulated threads are scheduled
    bool portable = false;                 // on cuda and simt: no kernels that some GPUs alone have
    bool cudnn = false;                    // on cuda: convolutions and batch norms by cuDNN
    bool cublas_only = false;              // on cuda: see cuda::Options
    bool synchronise_each_launch = false;  // on cuda: a failing kernel is named at once
  };

  static bool built_with(DeviceKind kind);
  /// Why this build, or this machine, does not have a device ("no NVIDIA driver is installed"); empty when it
  /// has.
  static std::string absence(DeviceKind kind);
  /// The same of cuDNN, for Options::cudnn.
  static std::string cudnn_absence();

  Device() : Device(Options{}) {}
  /// Throws InputError when the device is absent.
  explicit Device(const Options& options);

  DeviceKind kind() const { return kind_; }
  std::string_view name() const { return name_of(kind_); }
  /// "cpu with 16 threads", "cuda, NVIDIA H200 with 132 multiprocessors and 140 GiB"
  std::string describe() const;
  int threads() const;
  Allocator& memory() { return memory_; }
  /// High-water mark of tensors together with what kernels work in at that moment, in bytes: to compare with
  /// PyTorch's max_memory_allocated().  The second is what the device's memory has lost to them, with what
  /// lies between and beside tensors: max_memory_reserved().
  int64_t peak_bytes() const;
  int64_t peak_reserved_bytes() const;
  /// Gives back what nobody uses (see Allocator::trim).
  void trim();
  /// What the device's memory has left.
  int64_t free_bytes() const;

  /// The one place that chooses a backend, and that times kernels while a profiler is attached.
  template <typename Kernel>
  void run(const Kernel& kernel) {
    if (capturing_ && kind_ != DeviceKind::cuda) {
      capturing_->calls_.push_back([this, kernel] { run(kernel); });
      return;
    }
    const detail::ProfilerRange range(kernel.name);
    const auto launch = [&](auto& queue) { detail::launch(kernel, *queue); };
    if (!profiler_) return std::visit(launch, queue_);
    const auto library = [&](auto& queue) { return detail::library_behind(kernel, *queue); };
    profiler_->add(kernel.name, seconds_of([&] { std::visit(launch, queue_); }), kernel.cost(),
                   std::visit(library, queue_));
  }

  /// Names what went aside, one more than the one before.
  using Aside = int64_t;
  /// Enough for a block's weight gradients to wait while few threads are free; each keeps its operands.
  static constexpr size_t kMostAside = 4;
  /// What `launches` runs may go on beside what is run after it, on a device that can: until join(), until
  /// kMostAside more have gone aside, or until its memory is needed.  Neither may write what the other reads
  /// or writes.  What `launches` has captured by value stays until then; nothing else that it uses may be
  /// released before join().
  Aside aside(std::function<void()> launches);
  /// The same for what is in no hurry: it waits for all that was launched so far, aside or not, gives way to
  /// what comes after, and ends by the next join().  All that it uses must stay until then.
  void in_background(const std::function<void()>& launches);
  /// What is run from here on waits for all of that, or for what went aside up to one of them.
  void join();
  void join(Aside last);

  /// Captures the kernels that `body` launches instead of running them.  It must not copy between host and
  /// device, and must have run once before for its shapes.  What it allocates is kept for captured kernels
  /// until no graph of this device is left.
  Graph capture(const std::function<void()>& body);
  bool capturing() const { return capturing_ != nullptr; }

  /// Copies between host memory and this device's, in order with the kernels; a download joins what went
  /// aside.  The host memory may be reused at once after an upload, and is filled when a download returns.
  void upload(void* device, const void* host, int64_t bytes);
  void download(void* host, const void* device, int64_t bytes);
  /// Waits for all kernels; throws what went wrong in them.
  void synchronise();

  /// Every kernel from here on is timed by itself; null ends that.
  void attach(Profiler* profiler);
  /// Whether each kernel is looked at by itself, by a profiler or by waiting for it; captures would hide
  /// them.
  bool watches_each_launch() const { return profiler_ != nullptr || synchronises_; }
  /// Tells the profiler, if there is one, which part of the program follows.
  void enter(std::string_view part) {
    if (profiler_) profiler_->enter(part);
  }
#ifdef SCRAWL_CUDA
  /// Null unless this is a GPU; for what only a GPU has, such as pinned memory.
  cuda::Queue* cuda_queue() const;
#endif

 private:
  using Queue = std::variant<std::unique_ptr<cpu::Queue>
#ifdef SCRAWL_SIMT
                             ,
                             std::unique_ptr<simt::Queue>
#endif
#ifdef SCRAWL_CUDA
                             ,
                             std::unique_ptr<cuda::Queue>
#endif
#ifdef SCRAWL_CUDNN
                             ,
                             std::unique_ptr<cudnn::Queue>
#endif
                             >;
  static Queue make_queue(const Options& options, Allocator& memory);
  enum class Lane { aside, background };
  void beside(Lane lane, const std::function<void()>& launches);
  /// Calls use(queue) where kernels may run beside others.
  template <typename Use>
  void on_lanes(Use use) {
    const auto if_it_has = [&](auto& queue) {
      if constexpr (requires { queue->begin_aside(); }) use(*queue);
    };
    std::visit(if_it_has, queue_);
  }
  bool join_oldest_aside();
  void forget_asides();
  int64_t processor_scratch_bytes() const;

  /// Runs a kernel to its end; on a GPU by the GPU's own clock, without the time of launching.
  template <typename Launch>
  double seconds_of(Launch launch) {
#ifdef SCRAWL_CUDA
    if (stopwatch_) {
      stopwatch_->start();
      launch();
      return stopwatch_->stop();
    }
#endif
    const auto begin = std::chrono::steady_clock::now();
    launch();
    synchronise();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  DeviceKind kind_;
  Allocator memory_;  // asks for nothing until the queue, which gives back to it, has found the device
  Queue queue_;
  std::deque<std::function<void()>> aside_;  // what has gone aside and was not joined, for what it captured
  Aside joined_ = 0;                         // how many were
  bool launches_beside_ = false;             // just now
  bool synchronises_;
  Profiler* profiler_ = nullptr;
  Graph* capturing_ = nullptr;
  std::weak_ptr<void> captures_;  // what graphs share, as long as there are any
#ifdef SCRAWL_CUDA
  std::unique_ptr<cuda::Stopwatch> stopwatch_;  // there once a profiler was attached
#endif
};

}  // namespace scrawl
