#include "engine/uploads.h"

#include <cstring>
#include <new>

#ifdef SCRAWL_CUDA
#include "kernels/cuda/runtime/memory.h"
#include "kernels/cuda/runtime/uploads.h"
#endif

namespace scrawl {

PinnedMemory::PinnedMemory(Device& device, int64_t bytes) : data_(nullptr, host_memory().release) {
#ifdef SCRAWL_CUDA
  if (device.kind() == DeviceKind::cuda) {
    data_ = {cuda::allocate_pinned(bytes), cuda::release_pinned};
    return;
  }
#endif
  static_cast<void>(device);
  data_.reset(host_memory().allocate(bytes));
  if (!data_) throw std::bad_alloc();
}

Uploads::Uploads(Device& device) {
#ifdef SCRAWL_CUDA
  if (cuda::Queue* queue = device.cuda_queue()) on_cuda_ = std::make_shared<cuda::Uploads>(*queue);
#endif
  static_cast<void>(device);
}

void Uploads::start(void* device, const std::byte* pinned, int64_t bytes) {
#ifdef SCRAWL_CUDA
  if (on_cuda_) return on_cuda_->start(device, pinned, bytes);
#endif
  std::memcpy(device, pinned, bytes);
}

void Uploads::after_kernels() {
#ifdef SCRAWL_CUDA
  if (on_cuda_) on_cuda_->after_kernels();
#endif
}

void Uploads::before_kernels() {
#ifdef SCRAWL_CUDA
  if (on_cuda_) on_cuda_->before_kernels();
#endif
}

}  // namespace scrawl
