#pragma once
// How cuDNN computes each convolution that a queue has met: described and chosen once, then reused.
#include <cudnn.h>
#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "kernels/convolution.h"
#include "kernels/cuda/cudnn/descriptors.h"

namespace scrawl::cudnn {

/// An algorithm that gives the same bits in every run.
template <typename Algorithm>
struct Choice {
  Algorithm algorithm{};
  size_t workspace_bytes = 0;
};

/// One convolution's operands, and the algorithms of what has been asked for.
struct ConvolutionPlan {
  Tensor x, y, bias;
  Filter w;
  Convolution convolution;
  std::optional<Choice<cudnnConvolutionFwdAlgo_t>> forward{};
  std::optional<Choice<cudnnConvolutionBwdDataAlgo_t>> backward_input{};
  std::optional<Choice<cudnnConvolutionBwdFilterAlgo_t>> backward_weight{};
};

class ConvolutionPlans {
 public:
  /// `tf32`: see cuda::Options.
  ConvolutionPlans(cudnnHandle_t handle, bool tf32) : handle_(handle), tf32_(tf32) {}

  /// The plan with the algorithm for this kernel.  Valid as long as this object.  Throws std::runtime_error
  /// when cuDNN has none.
  const ConvolutionPlan& plan(const ConvolutionForward& args);
  const ConvolutionPlan& plan(const ConvolutionBackwardInput& args);
  const ConvolutionPlan& plan(const ConvolutionBackwardWeight& args);

 private:
  ConvolutionPlan& operands(DType dtype, const ConvolutionShape& shape);

  cudnnHandle_t handle_;
  bool tf32_;
  std::map<std::pair<DType, ConvolutionShape>, ConvolutionPlan> plans_;
};

/// "cudnn convolution.forward, [12, 80, 80, 64] by 3x3 stride 2 to 128 channels in bf16"
template <typename Kernel>
std::string describe(const Kernel& args) {
  const ConvolutionShape& s = args.shape;
  return fmt::format("cudnn {}, [{}, {}, {}, {}] by {}x{} stride {} to {} channels in {}", args.name,
                     s.images, s.height, s.width, s.channels, s.kernel, s.kernel, s.stride, s.out_channels,
                     name_of(args.dtype));
}

}  // namespace scrawl::cudnn
