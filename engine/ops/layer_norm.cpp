#include "kernels/layer_norm.h"

#include "engine/ops.h"
#include "engine/recomputation.h"

namespace scrawl::ops {

Tensor layer_norm(Tape& tape, const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps) {
  const Shape channels{x.dim(-1)};
  require(gamma.shape() == channels && beta.shape() == channels, "layer_norm: x {}, gamma {}, beta {}",
          x.shape().text(), gamma.shape().text(), beta.shape().text());
  const int64_t rows = x.shape().rows();
  Tensor y(tape.device(), x.shape(), x.dtype()), mean(tape.device(), {rows}), rstd(tape.device(), {rows});
  tape.device().run(LayerNormForward{.dtype = x.dtype(),
                                     .x = x.raw(),
                                     .gamma = gamma.data<float>(),
                                     .beta = beta.data<float>(),
                                     .y = y.raw(),
                                     .mean = mean.data<float>(),
                                     .rstd = rstd.data<float>(),
                                     .rows = rows,
                                     .channels = static_cast<int>(channels[0]),
                                     .eps = eps});

  const auto recomputation = std::make_shared<Recomputation>();
  tape.record(y, {&x, &gamma, &beta}, [=, &device = tape.device()](const Tensor& dy) {
    const auto to_x = gradient_target(device, x.gradient(), x.shape(), x.dtype());
    const auto to_gamma = gradient_target(device, gamma.gradient(), channels);
    const auto to_beta = gradient_target(device, beta.gradient(), channels);
    const Tensor again = recomputation->wanted_like(x);
    device.run(LayerNormBackward{.dtype = x.dtype(),
                                 .x = x.raw(),
                                 .gamma = gamma.data<float>(),
                                 .beta = beta.data<float>(),
                                 .mean = mean.data<float>(),
                                 .rstd = rstd.data<float>(),
                                 .dy = dy.raw(),
                                 .y = again.raw(),
                                 .dx = to_x.data,
                                 .dgamma = to_gamma.f32(),
                                 .dbeta = to_beta.f32(),
                                 .rows = rows,
                                 .channels = static_cast<int>(channels[0]),
                                 .accumulate_dx = to_x.accumulate,
                                 .accumulate_parameters = to_gamma.accumulate});
    recomputation->arrive(again);
  });
  if (y.gradient()) y.set_recomputation(recomputation);
  return y;
}

}  // namespace scrawl::ops
