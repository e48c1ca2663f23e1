#pragma once
// No CUDA header is included here, so that the engine needs none to hold a queue.
#include <memory>
#include <string>

#include "kernels/cuda/runtime/queue.h"

struct cudnnContext;

namespace scrawl::cudnn {

class ConvolutionPlans;

/// Why cuDNN cannot be used here ("cuDNN cannot be loaded: …"); empty when it can.
std::string absence();

/// "cuDNN 9.19.0".  Throws std::runtime_error when it is absent.
std::string library_version();

/// A GPU's queue whose convolutions and batch norms are computed by cuDNN.  It has an overload of `run` of
/// its own for these; every other kernel is found in scrawl::cuda, for it is a queue of that kind too.
class Queue : public cuda::Queue {
 public:
  /// As a cuda::Queue.  Throws std::runtime_error when there is no such device or no cuDNN.
  explicit Queue(MemorySource& memory, const cuda::Options& options = {});
  ~Queue() override;

  /// Computes on the stream that kernels are launched on now.
  cudnnContext* handle() const;
  /// How the queue's convolutions are computed; see convolution_plans.h.
  ConvolutionPlans& convolution_plans() const { return *convolution_plans_; }

 private:
  cudnnContext* handle_ = nullptr;
  std::unique_ptr<ConvolutionPlans> convolution_plans_;
};

}  // namespace scrawl::cudnn
