#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/labels.h"
#include "kernels/queue.h"
#include "kernels/upsample.h"

namespace scrawl {

/// Cross-entropy over labelled pixels of bilinearly upsampled logits (align_corners = true), without ever
/// writing the upsampled logits: each labelled pixel reads the four cells around it.
/// logits [images, in_height, in_width, classes]; label [images, out_height, out_width], 255 = unlabelled.
struct PartialCrossEntropyShape {
  int64_t images = 0;
  int in_height = 0, in_width = 0;
  int out_height = 0, out_width = 0;
  int classes = 0;
  ResizeAxis rows() const { return {in_height, out_height, true}; }
  ResizeAxis columns() const { return {in_width, out_width, true}; }
  int64_t inputs() const { return images * in_height * in_width * classes; }
  int64_t pixels() const { return images * out_height * out_width; }
};

/// labelled[0] = the number of pixels that have a label; ahead of the rest, since only it keeps the backward
/// pass waiting.
struct LabelCount {
  static constexpr std::string_view name = "partial_cross_entropy.count";
  const uint8_t* label = nullptr;
  int64_t pixels = 0;
  int32_t* labelled = nullptr;
  Cost cost() const { return {pixels, 0}; }
};

/// loss[0] = mean over labelled pixels.  Without any, the loss is 0 (PyTorch: NaN).
struct PartialCrossEntropyForward {
  static constexpr std::string_view name = "partial_cross_entropy.forward";
  DType dtype = DType::f32;
  PartialCrossEntropyShape shape;
  const void* logits = nullptr;
  const uint8_t* label = nullptr;
  const int32_t* labelled = nullptr;
  float* loss = nullptr;
  Cost cost() const { return {shape.inputs() * size_of(dtype) + shape.pixels(), 0}; }
};

/// dlogits (+)= dloss · gradient; every cell gathers from the pixels around it.
struct PartialCrossEntropyBackward {
  static constexpr std::string_view name = "partial_cross_entropy.backward";
  DType dtype = DType::f32;
  PartialCrossEntropyShape shape;
  const void* logits = nullptr;
  const uint8_t* label = nullptr;
  const int32_t* labelled = nullptr;
  float dloss = 1.0f;
  void* dlogits = nullptr;
  bool accumulate = false;
  Cost cost() const { return {2 * shape.inputs() * size_of(dtype) + shape.pixels(), 0}; }
};

namespace cpu {
void run(const LabelCount&, Queue&);
void run(const PartialCrossEntropyForward&, Queue&);
void run(const PartialCrossEntropyBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const LabelCount&, Queue&);
void run(const PartialCrossEntropyForward&, Queue&);
void run(const PartialCrossEntropyBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const LabelCount&, Queue&);
void run(const PartialCrossEntropyForward&, Queue&);
void run(const PartialCrossEntropyBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
