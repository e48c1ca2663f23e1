#include "kernels/cuda/cudnn/queue.h"

#include "kernels/cuda/cudnn/convolution_plans.h"
#include "kernels/cuda/cudnn/library.h"

namespace scrawl::cudnn {

std::string absence() {
  try {
    library();
    return {};
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

std::string library_version() {
  const size_t version = library().version();
  return fmt::format("cuDNN {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

Queue::Queue(MemorySource& memory, const cuda::Options& options) : cuda::Queue(memory, options) {
  check(library().create(&handle_), "starting cuDNN");
  convolution_plans_ = std::make_unique<ConvolutionPlans>(handle_, options.tf32);
}

cudnnContext* Queue::handle() const {
  check(library().set_stream(handle_, stream()), "cuDNN's stream");
  return handle_;
}

Queue::~Queue() {
  if (handle_) library().destroy(handle_);
}

}  // namespace scrawl::cudnn
