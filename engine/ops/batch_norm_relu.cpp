#include "kernels/batch_norm_relu.h"

#include "engine/ops.h"
#include "engine/ops/in_place.h"

namespace scrawl::ops {

Tensor batch_norm_relu(Tape& tape, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                       const Tensor& running_mean, const Tensor& running_var, float eps, float momentum,
                       float drop_rate) {
  const Shape channels{x.dim(-1)};
  require(x.shape().rank() == 4 && gamma.shape() == channels && beta.shape() == channels &&
              running_mean.shape() == channels && running_var.shape() == channels && drop_rate >= 0.0f &&
              drop_rate < 1.0f && (x.elements() > 0 || !tape.training()),
          "batch_norm_relu: x {}, gamma {}, beta {}, running mean {} and variance {}, drop rate {}",
          x.shape().text(), gamma.shape().text(), beta.shape().text(), running_mean.shape().text(),
          running_var.shape().text(), drop_rate);
  const bool training = tape.training();
  ChannelDropout dropout;
  if (training && drop_rate > 0.0f) dropout = {drop_rate, tape.next_random()};
  const int64_t images = x.dim(0), positions = x.dim(1) * x.dim(2);
  Tensor y(tape.device(), x.shape(), x.dtype()), mean(tape.device(), channels), rstd(tape.device(), channels);
  tape.device().run(BatchNormReluForward{.dtype = x.dtype(),
                                         .x = x.raw(),
                                         .gamma = gamma.data<float>(),
                                         .beta = beta.data<float>(),
                                         .y = y.raw(),
                                         .running_mean = running_mean.data<float>(),
                                         .running_var = running_var.data<float>(),
                                         .mean = mean.data<float>(),
                                         .rstd = rstd.data<float>(),
                                         .images = images,
                                         .positions = positions,
                                         .channels = static_cast<int>(channels[0]),
                                         .eps = eps,
                                         .momentum = momentum,
                                         .dropout = dropout,
                                         .training = training});

  tape.record(y, {&x, &gamma, &beta}, [=, &device = tape.device()](const Tensor& dy) {
    const Tensor dx = x.gradient() ? over(dy) : Tensor();
    const auto to_gamma = gradient_target(device, gamma.gradient(), channels);
    const auto to_beta = gradient_target(device, beta.gradient(), channels);
    device.run(BatchNormReluBackward{.dtype = x.dtype(),
                                     .x = x.raw(),
                                     .gamma = gamma.data<float>(),
                                     .beta = beta.data<float>(),
                                     .mean = mean.data<float>(),
                                     .rstd = rstd.data<float>(),
                                     .dy = dy.raw(),
                                     .dx = dx.defined() ? dx.raw() : nullptr,
                                     .dgamma = to_gamma.f32(),
                                     .dbeta = to_beta.f32(),
                                     .images = images,
                                     .positions = positions,
                                     .channels = static_cast<int>(channels[0]),
                                     .dropout = dropout,
                                     .accumulate_parameters = to_gamma.accumulate});
    pass_gradient(device, x.gradient(), dx);
  });
  return y;
}

}  // namespace scrawl::ops
