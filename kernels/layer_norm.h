#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// y = (x − mean) · rstd · gamma + beta for every row; mean and rstd [rows] are kept for the backward pass.
/// The variance takes a second pass over the row: E[x²] − E[x]² loses all digits when the mean is large.
struct LayerNormForward {
  static constexpr std::string_view name = "layer_norm.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  void* y = nullptr;
  float* mean = nullptr;
  float* rstd = nullptr;
  int64_t rows = 0;
  int channels = 0;
  float eps = 1e-5f;
  Cost cost() const { return {2 * rows * channels * size_of(dtype), 8 * rows * channels}; }
};

/// dx (+)= rstd · (g − mean(g) − x̂ · mean(g · x̂)) with g = dy · gamma; dgamma (+)= Σ dy · x̂, dbeta (+)= Σ dy.
/// dx may be null, and so may dgamma and dbeta together (frozen norms).
struct LayerNormBackward {
  static constexpr std::string_view name = "layer_norm.backward";
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
  bool accumulate_dx = false;
  bool accumulate_parameters = false;
  Cost cost() const {
    return {(accumulate_dx ? 4 : 3) * rows * channels * size_of(dtype), 14 * rows * channels};
  }
};

namespace cpu {
void run(const LayerNormForward&, Queue&);
void run(const LayerNormBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const LayerNormForward&, Queue&);
void run(const LayerNormBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const LayerNormForward&, Queue&);
void run(const LayerNormBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
