#include "kernels/segmentation.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor arg_max(const Tensor& logits, int height, int width) {
  require(logits.shape().rank() == 4 && logits.dim(3) <= 255, "arg_max: logits {}", logits.shape().text());
  Tensor classes(logits.device(), {logits.dim(0), height, width}, DType::u8);
  logits.device().run(UpsampledArgMax{.dtype = logits.dtype(),
                                      .shape = {.images = logits.dim(0),
                                                .in_height = static_cast<int>(logits.dim(1)),
                                                .in_width = static_cast<int>(logits.dim(2)),
                                                .out_height = height,
                                                .out_width = width,
                                                .channels = static_cast<int>(logits.dim(3)),
                                                .align_corners = true},
                                      .logits = logits.raw(),
                                      .classes = classes.data<uint8_t>()});
  return classes;
}

Tensor predicted_tags(const Tensor& prediction, int classes) {
  require(prediction.shape().rank() == 3 && classes >= 1 && classes <= 256,
          "predicted_tags: prediction {}, {} classes", prediction.shape().text(), classes);
  Tensor tags(prediction.device(), {prediction.dim(0), classes}, DType::u8);
  prediction.device().run(PredictedTags{.prediction = prediction.data<uint8_t>(),
                                        .tags = tags.data<uint8_t>(),
                                        .images = prediction.dim(0),
                                        .pixels = prediction.dim(1) * prediction.dim(2),
                                        .classes = classes});
  return tags;
}

void count_confusion(const Tensor& prediction, const Tensor& truth, const Tensor& counts) {
  require(prediction.shape() == truth.shape() && counts.shape().rank() == 2 && counts.dim(0) == counts.dim(1),
          "count_confusion: prediction {}, truth {}, counts {}", prediction.shape().text(),
          truth.shape().text(), counts.shape().text());
  prediction.device().run(ConfusionCount{.prediction = prediction.data<uint8_t>(),
                                         .truth = truth.data<uint8_t>(),
                                         .counts = counts.data<int64_t>(),
                                         .pixels = prediction.elements(),
                                         .classes = static_cast<int>(counts.dim(0))});
}

}  // namespace scrawl::ops
