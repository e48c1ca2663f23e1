#include "kernels/batch_norm.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor batch_norm(Tape& tape, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                  const Tensor& running_mean, const Tensor& running_var, float eps, float momentum) {
  const Shape channels{x.dim(-1)};
  require(gamma.shape() == channels && beta.shape() == channels && running_mean.shape() == channels &&
              running_var.shape() == channels,
          "batch_norm: x {}, gamma {}, beta {}, running mean {} and variance {}", x.shape().text(),
          gamma.shape().text(), beta.shape().text(), running_mean.shape().text(), running_var.shape().text());
  const bool training = tape.training();
  Tensor y(tape.device(), x.shape(), x.dtype()), mean(tape.device(), channels), rstd(tape.device(), channels);
  tape.device().run(BatchNormForward{.dtype = x.dtype(),
                                     .x = x.raw(),
                                     .gamma = gamma.data<float>(),
                                     .beta = beta.data<float>(),
                                     .y = y.raw(),
                                     .running_mean = running_mean.data<float>(),
                                     .running_var = running_var.data<float>(),
                                     .mean = mean.data<float>(),
                                     .rstd = rstd.data<float>(),
                                     .rows = x.shape().rows(),
                                     .channels = static_cast<int>(channels[0]),
                                     .eps = eps,
                                     .momentum = momentum,
                                     .training = training});

  tape.record(y, {&x, &gamma, &beta}, [=, &device = tape.device()](const Tensor& dy) {
    const auto to_x = gradient_target(device, x.gradient(), x.shape(), x.dtype());
    const auto to_gamma = gradient_target(device, gamma.gradient(), channels);
    const auto to_beta = gradient_target(device, beta.gradient(), channels);
    device.run(BatchNormBackward{.dtype = x.dtype(),
                                 .x = x.raw(),
                                 .gamma = gamma.data<float>(),
                                 .mean = mean.data<float>(),
                                 .rstd = rstd.data<float>(),
                                 .dy = dy.raw(),
                                 .dx = to_x.data,
                                 .dgamma = to_gamma.f32(),
                                 .dbeta = to_beta.f32(),
                                 .rows = x.shape().rows(),
                                 .channels = static_cast<int>(channels[0]),
                                 .training = training,
                                 .accumulate_dx = to_x.accumulate,
                                 .accumulate_parameters = to_gamma.accumulate});
  });
  return y;
}

}  // namespace scrawl::ops
