#pragma once
#include <algorithm>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// Where an output coordinate falls among the input's, by PyTorch's two conventions of bilinear
/// interpolation: cells `low` and `high` with weights 1 − fraction and fraction.
struct Interpolation {
  int low = 0, high = 0;
  float fraction = 0.0f;
};

/// One axis of a bilinear resize from `in` to `out` cells.
struct ResizeAxis {
  int in = 0, out = 0;
  bool align_corners = false;

  constexpr float scale() const {
    if (align_corners) return out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0f;
    return static_cast<float>(in) / static_cast<float>(out);
  }
  constexpr Interpolation at(int position) const {
    const float s = scale();
    const float source = align_corners ? s * static_cast<float>(position)
                                       : std::max(s * (static_cast<float>(position) + 0.5f) - 0.5f, 0.0f);
    const int low = std::min(static_cast<int>(source), in - 1);
    return {low, low < in - 1 ? low + 1 : low, source - static_cast<float>(low)};
  }
};

struct UpsampleShape {
  int64_t images = 0;
  int in_height = 0, in_width = 0;
  int out_height = 0, out_width = 0;
  int channels = 0;
  bool align_corners = false;
  constexpr ResizeAxis rows() const { return {in_height, out_height, align_corners}; }
  constexpr ResizeAxis columns() const { return {in_width, out_width, align_corners}; }
  int64_t inputs() const { return images * in_height * in_width * channels; }
  int64_t outputs() const { return images * out_height * out_width * channels; }
};

/// y = bilinear resize of x; x [images, in_height, in_width, channels], y likewise with the output's size.
struct UpsampleForward {
  static constexpr std::string_view name = "upsample.forward";
  DType dtype = DType::f32;
  UpsampleShape shape;
  const void* x = nullptr;
  void* y = nullptr;
  Cost cost() const { return {(shape.inputs() + shape.outputs()) * size_of(dtype), 7 * shape.outputs()}; }
};

/// dx (+)= transposed resize of dy, gathered per input cell so that the order of summation is fixed.
struct UpsampleBackward {
  static constexpr std::string_view name = "upsample.backward";
  DType dtype = DType::f32;
  UpsampleShape shape;
  const void* dy = nullptr;
  void* dx = nullptr;
  bool accumulate = false;
  Cost cost() const { return {(shape.inputs() + shape.outputs()) * size_of(dtype), 8 * shape.outputs()}; }
};

namespace cpu {
void run(const UpsampleForward&, Queue&);
void run(const UpsampleBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const UpsampleForward&, Queue&);
void run(const UpsampleBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const UpsampleForward&, Queue&);
void run(const UpsampleBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
