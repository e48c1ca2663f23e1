#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"
#include "kernels/upsample.h"

namespace scrawl {

/// classes[pixel] = arg max over bilinearly upsampled logits (ties: lower class), without writing those.
/// shape.channels is the number of classes; logits [images, in_height, in_width, K], classes
/// [images, out_height, out_width].
struct UpsampledArgMax {
  static constexpr std::string_view name = "segmentation.arg_max";
  DType dtype = DType::f32;
  UpsampleShape shape;
  const void* logits = nullptr;
  uint8_t* classes = nullptr;
  Cost cost() const {
    return {shape.inputs() * size_of(dtype) + shape.outputs() / shape.channels, 8 * shape.outputs()};
  }
};

/// counts[truth, prediction] += 1 for every labelled pixel; truth 255 does not count.  counts [classes,
/// classes].
struct ConfusionCount {
  static constexpr std::string_view name = "segmentation.confusion";
  const uint8_t* prediction = nullptr;
  const uint8_t* truth = nullptr;
  int64_t* counts = nullptr;
  int64_t pixels = 0;
  int classes = 0;
  Cost cost() const { return {2 * pixels, 0}; }
};

/// tags[image, class] = 1 if the class is background or that of any pixel of the image, else 0.
/// prediction [images, pixels], tags [images, classes].
struct PredictedTags {
  static constexpr std::string_view name = "segmentation.tags";
  const uint8_t* prediction = nullptr;
  uint8_t* tags = nullptr;
  int64_t images = 0, pixels = 0;  // pixels: of one image
  int classes = 0;
  Cost cost() const { return {images * (pixels + classes), 0}; }
};

namespace cpu {
void run(const UpsampledArgMax&, Queue&);
void run(const ConfusionCount&, Queue&);
void run(const PredictedTags&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const UpsampledArgMax&, Queue&);
void run(const ConfusionCount&, Queue&);
void run(const PredictedTags&, Queue&);
}  // namespace cuda
namespace simt {
void run(const UpsampledArgMax&, Queue&);
void run(const ConfusionCount&, Queue&);
void run(const PredictedTags&, Queue&);
}  // namespace simt

}  // namespace scrawl
