#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"
#include "kernels/step_state.h"

namespace scrawl {

/// Dropout of whole channels: with probability `rate` a channel of a sample is set to zero, else it is scaled
/// by 1/(1 − rate).  Rate 0 draws nothing.
struct ChannelDropout {
  float rate = 0.0f;
  RandomStream random;
  /// Factor of one channel of one sample; index = sample · channels + channel.
  constexpr float scale(uint32_t index) const {
    if (rate == 0.0f) return 1.0f;
    return random.uniform_at(index) < 1.0f - rate ? 1.0f / (1.0f - rate) : 0.0f;
  }
};

/// y = dropout(relu(z)), z = (x − mean) · rstd · gamma + beta for every channel of x [images, positions,
/// channels].
/// Training: statistics of the batch (biased variance, without cancellation; at least one row), written to
/// mean and rstd for the backward pass; running statistics move by `momentum` towards them (variance
/// unbiased, as in PyTorch; one row counts as is).  Evaluation: the running statistics; mean and rstd are not
/// used.
struct BatchNormReluForward {
  static constexpr std::string_view name = "batch_norm_relu.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  void* y = nullptr;
  float* running_mean = nullptr;
  float* running_var = nullptr;
  float* mean = nullptr;
  float* rstd = nullptr;
  int64_t images = 0, positions = 0;
  int channels = 0;
  float eps = 1e-5f;
  float momentum = 0.1f;
  ChannelDropout dropout;
  bool training = true;

  int64_t rows() const { return images * positions; }
  Cost cost() const {
    const int64_t elements = rows() * channels;
    return {(training ? 3 : 2) * elements * size_of(dtype), (training ? 9 : 4) * elements};
  }
};

/// dx = and dgamma, dbeta (+)= the gradients of a training step.  What ReLU and dropout let pass is found
/// again from x and `dropout`: y is not needed.  dx may be null, or dy itself; dgamma and dbeta may be null
/// together.
struct BatchNormReluBackward {
  static constexpr std::string_view name = "batch_norm_relu.backward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  const float* mean = nullptr;
  const float* rstd = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  float* dgamma = nullptr;
  float* dbeta = nullptr;
  int64_t images = 0, positions = 0;
  int channels = 0;
  ChannelDropout dropout;
  bool accumulate_parameters = false;

  int64_t rows() const { return images * positions; }
  Cost cost() const {
    const int64_t elements = rows() * channels;
    if (dx == nullptr) return {2 * elements * size_of(dtype), 7 * elements};
    return {5 * elements * size_of(dtype), 16 * elements};
  }
};

namespace cpu {
void run(const BatchNormReluForward&, Queue&);
void run(const BatchNormReluBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const BatchNormReluForward&, Queue&);
void run(const BatchNormReluBackward&, Queue&);
}  // namespace cuda
namespace cudnn {
/// Of the batch norm alone: ReLU and dropout are passes of our own around it.
void run(const BatchNormReluForward&, Queue&);
void run(const BatchNormReluBackward&, Queue&);
constexpr std::string_view library_of(const BatchNormReluForward&, const Queue&) {
  return "cuDNN";
}
constexpr std::string_view library_of(const BatchNormReluBackward&, const Queue&) {
  return "cuDNN";
}
}  // namespace cudnn
namespace simt {
void run(const BatchNormReluForward&, Queue&);
void run(const BatchNormReluBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
