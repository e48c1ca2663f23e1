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

Queue::Queue(const cuda::Options& options) : cuda::Queue(options) {
  check(library().create(&handle_), "starting cuDNN");
  check(library().set_stream(handle_, stream()), "starting cuDNN");
  convolution_plans_ = std::make_unique<ConvolutionPlans>(handle_, options.tf32);
}

Queue::~Queue() {
  if (handle_) library().destroy(handle_);
}

}  // namespace scrawl::cudnn
