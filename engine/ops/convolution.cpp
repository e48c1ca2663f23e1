#include "kernels/convolution.h"

#include "engine/ops.h"
#include "engine/recomputation.h"

namespace scrawl::ops {
namespace {

void weight_backward(Device& device, const ConvolutionShape& shape, const Tensor& x, const Tensor& dy,
                     const Tensor& weight, const std::shared_ptr<Gradient>& bias) {
  const auto to_w = gradient_target(device, weight.gradient(), weight.shape());
  const auto to_b = gradient_target(device, bias, {weight.dim(0)});
  device.run(ConvolutionBackwardWeight{.dtype = dy.dtype(),
                                       .shape = shape,
                                       .x = x.raw(),
                                       .dy = dy.raw(),
                                       .dw = to_w.f32(),
                                       .dbias = to_b.f32(),
                                       .accumulate = to_w.accumulate});
}

}  // namespace

Tensor convolution(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias, int stride,
                   int padding) {
  require(x.shape().rank() == 4 && weight.shape().rank() == 4 && weight.dim(1) == weight.dim(2) &&
              weight.dim(3) == x.dim(3) && bias.shape() == Shape{weight.dim(0)} && bias.dtype() == x.dtype(),
          "convolution: x {}, weight {}, bias {}", x.shape().text(), weight.shape().text(),
          bias.shape().text());
  const ConvolutionShape shape{.images = x.dim(0),
                               .height = static_cast<int>(x.dim(1)),
                               .width = static_cast<int>(x.dim(2)),
                               .channels = static_cast<int>(x.dim(3)),
                               .out_channels = static_cast<int>(weight.dim(0)),
                               .kernel = static_cast<int>(weight.dim(1)),
                               .stride = stride,
                               .padding = padding};
  require(shape.height + 2 * padding >= shape.kernel && shape.width + 2 * padding >= shape.kernel,
          "convolution: a map of {}x{} is smaller than the {}x{} kernel", shape.height, shape.width,
          shape.kernel, shape.kernel);
  Tensor y(tape.device(), {shape.images, shape.out_height(), shape.out_width(), shape.out_channels},
           x.dtype());
  tape.device().run(ConvolutionForward{
      .dtype = x.dtype(), .shape = shape, .x = x.raw(), .w = weight.raw(), .bias = bias.raw(), .y = y.raw()});

  tape.record(y, {&x, &weight, &bias},
              [=, &device = tape.device(), kept = Kept(x), x_shape = x.shape(), dx = x.gradient(),
               db = bias.gradient()](const Tensor& dy) {
                if (const auto to = gradient_target(device, dx, x_shape, dy.dtype()); to.data)
                  device.run(ConvolutionBackwardInput{.dtype = dy.dtype(),
                                                      .shape = shape,
                                                      .dy = dy.raw(),
                                                      .w = weight.raw(),
                                                      .dx = to.data,
                                                      .accumulate = to.accumulate});
                if (weight.gradient())
                  kept.use({weight.gradient(), db}, [=, &device](const Tensor& values) {
                    device.aside([=, &device] { weight_backward(device, shape, values, dy, weight, db); });
                  });
              });
  return y;
}

}  // namespace scrawl::ops
