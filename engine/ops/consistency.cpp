#include "kernels/consistency.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor consistency(Tape& tape, const Tensor& a, const Tensor& b) {
  require(a.shape() == b.shape(), "consistency: a {}, b {}", a.shape().text(), b.shape().text());
  const int64_t positions = a.shape().rows();
  const int classes = static_cast<int>(a.dim(-1));
  Device& device = tape.device();
  Tensor loss(device, {1});
  device.aside([=, &device] {
    device.run(ConsistencyForward{.dtype = a.dtype(),
                                  .a = a.raw(),
                                  .b = b.raw(),
                                  .loss = loss.data<float>(),
                                  .positions = positions,
                                  .classes = classes});
  });

  tape.record_loss(loss, {&a, &b}, [=, &device](float dloss) {
    const auto to_a = gradient_target(device, a.gradient(), a.shape(), a.dtype());
    const auto to_b = gradient_target(device, b.gradient(), b.shape(), b.dtype());
    device.run(ConsistencyBackward{.dtype = a.dtype(),
                                   .a = a.raw(),
                                   .b = b.raw(),
                                   .dloss = dloss,
                                   .da = to_a.data,
                                   .db = to_b.data,
                                   .positions = positions,
                                   .classes = classes,
                                   .accumulate_da = to_a.accumulate,
                                   .accumulate_db = to_b.accumulate});
  });
  return loss;
}

}  // namespace scrawl::ops
