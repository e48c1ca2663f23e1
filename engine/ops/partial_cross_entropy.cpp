#include "kernels/partial_cross_entropy.h"

#include "engine/ops.h"

namespace scrawl::ops {

Labels count_labelled(const Tensor& map) {
  Device& device = map.device();
  Labels labels{.map = map, .count = Tensor(device, {1}, DType::i32), .under_way = {}};
  labels.under_way = device.aside([&device, map, count = labels.count] {
    device.run(LabelCount{
        .label = map.data<uint8_t>(), .pixels = map.elements(), .labelled = count.data<int32_t>()});
  });
  return labels;
}

Tensor partial_cross_entropy(Tape& tape, const Tensor& logits, const Labels& labels) {
  const auto& [label, labelled, under_way] = labels;
  require(logits.shape().rank() == 4 && label.shape().rank() == 3 && logits.dim(0) == label.dim(0),
          "partial_cross_entropy: logits {}, label {}", logits.shape().text(), label.shape().text());
  const PartialCrossEntropyShape shape{.images = logits.dim(0),
                                       .in_height = static_cast<int>(logits.dim(1)),
                                       .in_width = static_cast<int>(logits.dim(2)),
                                       .out_height = static_cast<int>(label.dim(1)),
                                       .out_width = static_cast<int>(label.dim(2)),
                                       .classes = static_cast<int>(logits.dim(3))};
  Device& device = tape.device();
  Tensor loss(device, {1});
  device.join(under_way);
  device.aside([=, &device, label = label, labelled = labelled] {
    device.run(PartialCrossEntropyForward{.dtype = logits.dtype(),
                                          .shape = shape,
                                          .logits = logits.raw(),
                                          .label = label.data<uint8_t>(),
                                          .labelled = labelled.data<int32_t>(),
                                          .loss = loss.data<float>()});
  });

  tape.record_loss(loss, {&logits}, [=, &device, label = label, labelled = labelled](float dloss) {
    const auto to = gradient_target(device, logits.gradient(), logits.shape(), logits.dtype());
    device.run(PartialCrossEntropyBackward{.dtype = logits.dtype(),
                                           .shape = shape,
                                           .logits = logits.raw(),
                                           .label = label.data<uint8_t>(),
                                           .labelled = labelled.data<int32_t>(),
                                           .dloss = dloss,
                                           .dlogits = to.data,
                                           .accumulate = to.accumulate});
  });
  return loss;
}

}  // namespace scrawl::ops
