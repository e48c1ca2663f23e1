#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// y = (x − mean) · rstd · gamma + beta for every channel of x [rows, channels].
/// Training: statistics of the batch (biased variance, two passes), kept in mean and rstd for the backward
/// pass; running statistics move by `momentum` towards them (variance unbiased, as in PyTorch; one row counts
/// as is). Evaluation: the running statistics, copied to mean and rstd.
struct BatchNormForward {
  static constexpr std::string_view name = "batch_norm.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  void* y = nullptr;
  float* running_mean = nullptr;
  float* running_var = nullptr;
  float* mean = nullptr;
  float* rstd = nullptr;
  int64_t rows = 0;
  int channels = 0;
  float eps = 1e-5f;
  float momentum = 0.1f;
  bool training = true;
  Cost cost() const {
    return {(training ? 3 : 2) * rows * channels * size_of(dtype), (training ? 7 : 2) * rows * channels};
  }
};

/// dx, dgamma, dbeta (+)= the gradients; with `training` false mean and rstd count as constants.
/// dx may be null, and so may dgamma and dbeta together.
struct BatchNormBackward {
  static constexpr std::string_view name = "batch_norm.backward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* gamma = nullptr;
  const float* mean = nullptr;
  const float* rstd = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  float* dgamma = nullptr;
  float* dbeta = nullptr;
  int64_t rows = 0;
  int channels = 0;
  bool training = true;
  bool accumulate_dx = false;
  bool accumulate_parameters = false;
  Cost cost() const { return {5 * rows * channels * size_of(dtype), 10 * rows * channels}; }
};

namespace cpu {
void run(const BatchNormForward&, Queue&);
void run(const BatchNormBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const BatchNormForward&, Queue&);
void run(const BatchNormBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const BatchNormForward&, Queue&);
void run(const BatchNormBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
