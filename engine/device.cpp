#include "engine/device.h"

#include <cstring>

#include "engine/error.h"
#ifdef SCRAWL_CUDA
#include "kernels/cuda/memory.h"
#endif

namespace scrawl {
namespace {

SystemMemory system_memory(DeviceKind kind) {
#ifdef SCRAWL_CUDA
  if (kind == DeviceKind::cuda) return {cuda::allocate, cuda::release};
#endif
  static_cast<void>(kind);
  return host_memory();
}

}  // namespace

Device::Queue Device::make_queue(const Options& options) {
  switch (options.kind) {
    case DeviceKind::cpu:
      return std::make_unique<cpu::Queue>(options.threads);
    case DeviceKind::simt: {
#ifdef SCRAWL_SIMT
      simt::Options simt = options.simt;
      if (simt.threads == 0) simt.threads = options.threads;
      return std::make_unique<simt::Queue>(simt);
#else
      break;
#endif
    }
    case DeviceKind::cuda:
#ifdef SCRAWL_CUDA
      return std::make_unique<cuda::Queue>(
          cuda::Options{.synchronise_each_launch = options.synchronise_each_launch});
#else
      break;
#endif
  }
  throw InputError("this build has no {} device", name_of(options.kind));
}

Device::Device(const Options& options)
    : kind_(options.kind),
      queue_(make_queue(options)),
      memory_(system_memory(options.kind), options.guard_memory && options.kind != DeviceKind::cuda) {}

int Device::threads() const {
  if (const auto* queue = std::get_if<std::unique_ptr<cpu::Queue>>(&queue_)) return (*queue)->threads();
#ifdef SCRAWL_SIMT
  if (const auto* queue = std::get_if<std::unique_ptr<simt::Queue>>(&queue_)) return (*queue)->threads();
#endif
  return 1;
}

int64_t Device::peak_bytes() const {
  return memory_.statistics().peak +
         std::visit([](const auto& queue) { return queue->scratch_bytes(); }, queue_);
}

void Device::upload(void* device, const void* host, int64_t bytes) {
  require(!capturing(), "an upload cannot be captured");
  if (bytes == 0) return;
#ifdef SCRAWL_CUDA
  if (auto* queue = std::get_if<std::unique_ptr<cuda::Queue>>(&queue_))
    return cuda::copy_to_device(device, host, bytes, **queue);
#endif
  std::memcpy(device, host, bytes);
}

void Device::download(void* host, const void* device, int64_t bytes) {
  require(!capturing(), "a download cannot be captured");
  if (bytes == 0) return;
#ifdef SCRAWL_CUDA
  if (auto* queue = std::get_if<std::unique_ptr<cuda::Queue>>(&queue_))
    return cuda::copy_to_host(host, device, bytes, **queue);
#endif
  std::memcpy(host, device, bytes);
}

void Device::synchronise() {
  std::visit([](auto& queue) { queue->synchronise(); }, queue_);
}

}  // namespace scrawl
