#pragma once
// cuDNN, loaded when it is first asked for: a program that can use it still starts where it is missing.
#include <cudnn.h>

#include "kernels/cuda/runtime/check.h"

namespace scrawl::cudnn {

/// A function of libcudnn.so, whatever its type.
struct Symbol {
  void* address;
  template <typename Function>
  operator Function*() const {  // NOLINT(google-explicit-constructor)
    return reinterpret_cast<Function*>(address);
  }
};
/// Throws std::runtime_error when the library or the function is missing.
Symbol symbol(const char* name);

/// The functions that are used here.
struct Library {
  decltype(&cudnnGetVersion) version = symbol("cudnnGetVersion");
  decltype(&cudnnGetErrorString) error_string = symbol("cudnnGetErrorString");
  decltype(&cudnnGetLastErrorString) last_error_string = symbol("cudnnGetLastErrorString");
  decltype(&cudnnCreate) create = symbol("cudnnCreate");
  decltype(&cudnnDestroy) destroy = symbol("cudnnDestroy");
  decltype(&cudnnSetStream) set_stream = symbol("cudnnSetStream");

  decltype(&cudnnCreateTensorDescriptor) create_tensor = symbol("cudnnCreateTensorDescriptor");
  decltype(&cudnnSetTensor4dDescriptor) set_tensor = symbol("cudnnSetTensor4dDescriptor");
  decltype(&cudnnDestroyTensorDescriptor) destroy_tensor = symbol("cudnnDestroyTensorDescriptor");
  decltype(&cudnnCreateFilterDescriptor) create_filter = symbol("cudnnCreateFilterDescriptor");
  decltype(&cudnnSetFilter4dDescriptor) set_filter = symbol("cudnnSetFilter4dDescriptor");
  decltype(&cudnnDestroyFilterDescriptor) destroy_filter = symbol("cudnnDestroyFilterDescriptor");
  decltype(&cudnnCreateConvolutionDescriptor) create_convolution = symbol("cudnnCreateConvolutionDescriptor");
  decltype(&cudnnSetConvolution2dDescriptor) set_convolution = symbol("cudnnSetConvolution2dDescriptor");
  decltype(&cudnnSetConvolutionMathType) set_math = symbol("cudnnSetConvolutionMathType");
  decltype(&cudnnDestroyConvolutionDescriptor) destroy_convolution =
      symbol("cudnnDestroyConvolutionDescriptor");

  decltype(&cudnnGetConvolutionForwardAlgorithm_v7) propose_forward =
      symbol("cudnnGetConvolutionForwardAlgorithm_v7");
  decltype(&cudnnGetConvolutionBackwardDataAlgorithm_v7) propose_backward_input =
      symbol("cudnnGetConvolutionBackwardDataAlgorithm_v7");
  decltype(&cudnnGetConvolutionBackwardFilterAlgorithm_v7) propose_backward_weight =
      symbol("cudnnGetConvolutionBackwardFilterAlgorithm_v7");
  decltype(&cudnnGetConvolutionForwardWorkspaceSize) workspace_forward =
      symbol("cudnnGetConvolutionForwardWorkspaceSize");
  decltype(&cudnnGetConvolutionBackwardDataWorkspaceSize) workspace_backward_input =
      symbol("cudnnGetConvolutionBackwardDataWorkspaceSize");
  decltype(&cudnnGetConvolutionBackwardFilterWorkspaceSize) workspace_backward_weight =
      symbol("cudnnGetConvolutionBackwardFilterWorkspaceSize");
  decltype(&cudnnConvolutionForward) convolution_forward = symbol("cudnnConvolutionForward");
  decltype(&cudnnConvolutionBackwardData) convolution_backward_input = symbol("cudnnConvolutionBackwardData");
  decltype(&cudnnConvolutionBackwardFilter) convolution_backward_weight =
      symbol("cudnnConvolutionBackwardFilter");
  decltype(&cudnnAddTensor) add_tensor = symbol("cudnnAddTensor");

  decltype(&cudnnBatchNormalizationForwardTraining) batch_norm_forward =
      symbol("cudnnBatchNormalizationForwardTraining");
  decltype(&cudnnBatchNormalizationBackward) batch_norm_backward = symbol("cudnnBatchNormalizationBackward");
};

/// Throws std::runtime_error when cuDNN is missing or lacks a function.
const Library& library();

/// Throws std::runtime_error when a call failed; see kernels/cuda/runtime/check.h.
template <typename What>
void check(cudnnStatus_t status, const What& what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char details[512] = "";
  library().last_error_string(details, sizeof details);
  throw std::runtime_error(
      fmt::format("{}: cuDNN: {} {}", cuda::text_of(what), library().error_string(status), details));
}

}  // namespace scrawl::cudnn
