#include "kernels/depthwise_gelu.h"

#include "engine/ops.h"
#include "engine/recomputation.h"

namespace scrawl::ops {

Tensor depthwise_gelu(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  require(x.shape().rank() == 4 && weight.shape() == Shape{3, 3, x.dim(3)} && bias.shape() == Shape{x.dim(3)},
          "depthwise_gelu: x {}, weight {}, bias {}", x.shape().text(), weight.shape().text(),
          bias.shape().text());
  Tensor y(tape.device(), x.shape(), x.dtype());
  tape.device().run(DepthwiseGeluForward{.dtype = x.dtype(),
                                         .x = x.raw(),
                                         .w = weight.data<float>(),
                                         .bias = bias.data<float>(),
                                         .y = y.raw(),
                                         .images = x.dim(0),
                                         .height = static_cast<int>(x.dim(1)),
                                         .width = static_cast<int>(x.dim(2)),
                                         .channels = static_cast<int>(x.dim(3))});

  const auto recomputation = std::make_shared<Recomputation>();
  tape.record(y, {&x, &weight, &bias}, [=, &device = tape.device()](const Tensor& dy) {
    const auto to_sum = row_sum_target(device, x.gradient(), x.dim(3));
    const auto to_x = gradient_target(device, x.gradient(), x.shape(), x.dtype());
    const auto to_w = gradient_target(device, weight.gradient(), weight.shape());
    const auto to_b = gradient_target(device, bias.gradient(), bias.shape());
    const Tensor again = recomputation->wanted_like(x);
    device.run(DepthwiseGeluBackward{.dtype = x.dtype(),
                                     .x = x.raw(),
                                     .w = weight.data<float>(),
                                     .bias = bias.data<float>(),
                                     .dy = dy.raw(),
                                     .dx = to_x.data,
                                     .dw = to_w.f32(),
                                     .dbias = to_b.f32(),
                                     .y = again.raw(),
                                     .dx_sum = to_sum.f32(),
                                     .images = x.dim(0),
                                     .height = static_cast<int>(x.dim(1)),
                                     .width = static_cast<int>(x.dim(2)),
                                     .channels = static_cast<int>(x.dim(3)),
                                     .accumulate_dx = to_x.accumulate,
                                     .accumulate_parameters = to_w.accumulate,
                                     .accumulate_dx_sum = to_sum.accumulate});
    recomputation->arrive(again);
  });
  if (y.gradient()) y.set_recomputation(recomputation);
  return y;
}

}  // namespace scrawl::ops
