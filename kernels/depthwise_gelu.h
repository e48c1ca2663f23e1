#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// The middle of Mix-FFN in one pass: y = gelu(depthwise 3×3 of x (padding 1) + bias), GELU in its erf form.
/// x, y [images, height, width, channels]; w [3, 3, channels]; bias [channels].
struct DepthwiseGeluForward {
  static constexpr std::string_view name = "depthwise_gelu.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* w = nullptr;
  const float* bias = nullptr;
  void* y = nullptr;
  int64_t images = 0;
  int height = 0, width = 0, channels = 0;
  int64_t elements() const { return images * height * width * channels; }
  Cost cost() const { return {2 * elements() * size_of(dtype), (18 + 30) * elements()}; }
};

/// Recomputes the value ahead of GELU instead of keeping it.  dx, dw, dbias (+)= the gradients, of at least
/// one pixel; dx may be null, and so may dw and dbias together.
/// Two results more come almost for free, for those who ask: y once more, so that it need not be kept either,
/// and dx_sum, the gradient of a bias that was added to x.  It is summed ahead of rounding, of this kernel's
/// dx alone, whatever that is added to, and needs one: std::invalid_argument otherwise.
/// With maps in bf16, the gradient ahead of GELU may be rounded to bf16 for dx and dw; dbias and dx_sum are
/// summed ahead of that.  A NaN or infinity may, either way, spread to channels beside its own.
struct DepthwiseGeluBackward {
  static constexpr std::string_view name = "depthwise_gelu.backward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* w = nullptr;
  const float* bias = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  float* dw = nullptr;
  float* dbias = nullptr;
  void* y = nullptr;        // [like x] what the forward pass yielded, bit for bit the same, or null
  float* dx_sum = nullptr;  // [channels] (+)= sum over pixels of this kernel's dx, or null
  int64_t images = 0;
  int height = 0, width = 0, channels = 0;
  bool accumulate_dx = false;
  bool accumulate_parameters = false;
  bool accumulate_dx_sum = false;
  int64_t elements() const { return images * height * width * channels; }
  Cost cost() const {
    const int64_t maps = 3 + accumulate_dx + (y != nullptr);
    const int64_t operations = 3 * 18 + 40 + (y != nullptr) + (dx_sum != nullptr);
    return {maps * elements() * size_of(dtype), operations * elements()};
  }
};

/// Throws std::invalid_argument when the sum of dx is wanted without dx.
inline void check_results(const DepthwiseGeluBackward& args) {
  if (args.dx_sum && !args.dx) throw std::invalid_argument(std::string(args.name) + ": dx_sum needs dx");
}

namespace cpu {
void run(const DepthwiseGeluForward&, Queue&);
void run(const DepthwiseGeluBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const DepthwiseGeluForward&, Queue&);
void run(const DepthwiseGeluBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const DepthwiseGeluForward&, Queue&);
void run(const DepthwiseGeluBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
