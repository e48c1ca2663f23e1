#include "engine/device.h"

#include <cstring>

#include "engine/error.h"
#include "kernels/queue.h"
#ifdef SCRAWL_CUDA
#include "kernels/cuda/runtime/memory.h"
#endif

namespace scrawl {
namespace {

SystemMemory system_memory(DeviceKind kind) {
#ifdef SCRAWL_CUDA
  if (kind == DeviceKind::cuda) return {cuda::allocate, cuda::release, cuda::fill, cuda::copy_to_host};
#endif
  static_cast<void>(kind);
  return host_memory();
}

}  // namespace

bool Device::built_with(DeviceKind kind) {
#ifdef SCRAWL_SIMT
  if (kind == DeviceKind::simt) return true;
#endif
#ifdef SCRAWL_CUDA
  if (kind == DeviceKind::cuda) return true;
#endif
  return kind == DeviceKind::cpu;
}

std::string Device::absence(DeviceKind kind) {
  if (!built_with(kind)) return "this build was made without it";
#ifdef SCRAWL_CUDA
  if (kind == DeviceKind::cuda) return cuda::absence();
#endif
  return {};
}

std::string Device::cudnn_absence() {
#ifdef SCRAWL_CUDNN
  return cudnn::absence();
#else
  return "this build was made without it";
#endif
}

Device::Queue Device::make_queue(const Options& options, [[maybe_unused]] Allocator& memory) {
  if (const std::string reason = absence(options.kind); !reason.empty())
    throw InputError("no {} device: {}", name_of(options.kind), reason);
  if (options.cudnn && options.kind == DeviceKind::cuda)
    if (const std::string reason = cudnn_absence(); !reason.empty()) throw InputError("no cuDNN: {}", reason);
#ifdef SCRAWL_SIMT
  if (options.kind == DeviceKind::simt) {
    simt::Options simt = options.simt;
    if (simt.threads == 0) simt.threads = options.threads;
    if (options.portable) simt.compute_capability = kLeastComputeCapability;
    return std::make_unique<simt::Queue>(memory, simt);
  }
#endif
#ifdef SCRAWL_CUDA
  const cuda::Options cuda{.compute_capability = options.portable ? kLeastComputeCapability : 0,
                           .cublas_only = options.cublas_only,
                           .synchronise_each_launch = options.synchronise_each_launch};
#ifdef SCRAWL_CUDNN
  if (options.kind == DeviceKind::cuda && options.cudnn) return std::make_unique<cudnn::Queue>(memory, cuda);
#endif
  if (options.kind == DeviceKind::cuda) return std::make_unique<cuda::Queue>(memory, cuda);
#endif
  return std::make_unique<cpu::Queue>(options.threads);
}

#ifdef SCRAWL_CUDA
cuda::Queue* Device::cuda_queue() const {
  const auto as_cuda = [](const auto& queue) -> cuda::Queue* {
    if constexpr (std::is_convertible_v<decltype(queue.get()), cuda::Queue*>) return queue.get();
    return nullptr;
  };
  return std::visit(as_cuda, queue_);
}
#endif

Device::Device(const Options& options)
    : kind_(options.kind),
      memory_(system_memory(options.kind), options.guard_memory),
      queue_(make_queue(options, memory_)),
      synchronises_(options.synchronise_each_launch) {
  memory_.before_growing([this] { return join_oldest_aside(); });
}

int Device::threads() const {
  if (const auto* queue = std::get_if<std::unique_ptr<cpu::Queue>>(&queue_)) return (*queue)->threads();
#ifdef SCRAWL_SIMT
  if (const auto* queue = std::get_if<std::unique_ptr<simt::Queue>>(&queue_)) return (*queue)->threads();
#endif
  return 1;
}

std::string Device::describe() const {
#ifdef SCRAWL_CUDA
  if (const cuda::Queue* queue = cuda_queue())
    return fmt::format("cuda, {} with {} multiprocessors and {:.0f} GiB", queue->device_name(),
                       queue->multiprocessors(), static_cast<double>(queue->memory_bytes()) / (1 << 30));
#endif
  return fmt::format("{} with {} threads", name(), threads());
}

int64_t Device::processor_scratch_bytes() const {
  const auto* queue = std::get_if<std::unique_ptr<cpu::Queue>>(&queue_);
  return queue ? (*queue)->scratch_bytes() : 0;
}

int64_t Device::peak_bytes() const {
  return memory_.statistics().peak + processor_scratch_bytes();
}

int64_t Device::peak_reserved_bytes() const {
  return memory_.statistics().peak_reserved + processor_scratch_bytes();
}

void Device::trim() {
  memory_.trim();
  if (const auto* queue = std::get_if<std::unique_ptr<cpu::Queue>>(&queue_)) (*queue)->release_scratch();
}

int64_t Device::free_bytes() const {
#ifdef SCRAWL_CUDA
  if (kind_ == DeviceKind::cuda) return cuda::free_bytes();
#endif
  return host_free_bytes();
}

void Device::upload(void* device, const void* host, int64_t bytes) {
  require(!capturing(), "an upload cannot be captured");
  if (bytes == 0) return;
#ifdef SCRAWL_CUDA
  if (cuda::Queue* queue = cuda_queue()) return cuda::copy_to_device(device, host, bytes, *queue);
#endif
  std::memcpy(device, host, bytes);
}

void Device::download(void* host, const void* device, int64_t bytes) {
  require(!capturing(), "a download cannot be captured");
  if (bytes == 0) return;
  join();
#ifdef SCRAWL_CUDA
  if (cuda::Queue* queue = cuda_queue()) return cuda::copy_to_host(host, device, bytes, *queue);
#endif
  std::memcpy(host, device, bytes);
}

Device::Aside Device::aside(std::function<void()> launches) {
  if (aside_.size() == kMostAside) join_oldest_aside();
  const Aside number = joined_ + static_cast<Aside>(aside_.size());
  // Kept also if it fails, as the queue keeps its run.
  const std::shared_ptr<void> keep(nullptr, [&](void*) { aside_.push_back(std::move(launches)); });
  beside(Lane::aside, launches);
  return number;
}

/// Whether there was one.
bool Device::join_oldest_aside() {
  if (aside_.empty() || launches_beside_) return false;
  on_lanes([](auto& queue) { queue.join_oldest_aside(); });
  aside_.pop_front();
  ++joined_;
  return true;
}

void Device::join(Aside last) {
  require(!launches_beside_, "what runs beside the queue cannot wait for what else does");
  while (joined_ <= last && join_oldest_aside()) continue;
}

void Device::in_background(const std::function<void()>& launches) {
  beside(Lane::background, launches);
}

void Device::beside(Lane lane, const std::function<void()>& launches) {
  launches_beside_ = true;
  const bool turns = !watches_each_launch();
  const std::shared_ptr<void> end(nullptr, [this, turns](void*) {
    launches_beside_ = false;
    if (turns) on_lanes([](auto& queue) { queue.turn_back(); });
  });
  if (turns)
    on_lanes([lane](auto& queue) { lane == Lane::aside ? queue.begin_aside() : queue.begin_background(); });
  launches();
  if (turns) on_lanes([](auto& queue) { queue.end_beside(); });
}

void Device::join() {
  on_lanes([](auto& queue) { queue.join(); });
  forget_asides();
}

void Device::forget_asides() {
  joined_ += static_cast<Aside>(aside_.size());
  aside_.clear();
}

void Device::attach(Profiler* profiler) {
  profiler_ = profiler;
#ifdef SCRAWL_CUDA
  if (cuda::Queue* queue = cuda_queue(); profiler && queue && !stopwatch_)
    stopwatch_ = std::make_unique<cuda::Stopwatch>(*queue);
#endif
}

void Device::synchronise() {
  join();
  std::visit([](auto& queue) { queue->synchronise(); }, queue_);
}

}  // namespace scrawl
