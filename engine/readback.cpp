#include "engine/readback.h"

#include <utility>

#include "engine/error.h"
#ifdef SCRAWL_CUDA
#include "kernels/cuda/runtime/readback.h"
#endif

namespace scrawl {

Readback::Readback(Device& device, int capacity) {
#ifdef SCRAWL_CUDA
  if (cuda::Queue* queue = device.cuda_queue()) on_cuda_ = std::make_shared<cuda::Readback>(*queue, capacity);
#endif
  static_cast<void>(device);
  if (!on_cuda_) numbers_.reserve(capacity);
}

void Readback::push(const Tensor& number) {
  require(number.elements() == 1, "one number is read back at a time, got shape {}", number.shape().text());
#ifdef SCRAWL_CUDA
  if (on_cuda_) return on_cuda_->push(number.data<float>());
#endif
  numbers_.push_back(*number.data<float>());
}

std::vector<float> Readback::arrived() {
#ifdef SCRAWL_CUDA
  if (on_cuda_) return on_cuda_->arrived();
#endif
  return rest();
}

std::vector<float> Readback::rest() {
#ifdef SCRAWL_CUDA
  if (on_cuda_) return on_cuda_->rest();
#endif
  return std::exchange(numbers_, {});
}

}  // namespace scrawl
