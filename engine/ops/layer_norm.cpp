#include <utility>

#include "engine/ops.h"
#include "engine/ops/linear.h"
#include "engine/recomputation.h"
#include "kernels/linear_norm.h"

namespace scrawl::ops {
namespace {

/// What goes back through a norm.
struct Backward {
  Device& device;
  Tensor x, gamma, beta, mean, rstd;
  std::shared_ptr<Recomputation> recomputation;  // of what the norm yields
  std::shared_ptr<LeftProduct> left;

  void operator()(const Tensor& dy) const {
    const LeftProduct product = std::exchange(*left, {});
    LinearNormBackward args;
    Tensor dnormed;
    if (product.dy.defined())
      args.product = left_product(product, dy, x.shape(), dnormed);
    else
      dnormed = dy;
    const auto to_x = gradient_target(device, x.gradient(), x.shape(), x.dtype());
    const auto to_gamma = gradient_target(device, gamma.gradient(), gamma.shape());
    const auto to_beta = gradient_target(device, beta.gradient(), beta.shape());
    const Tensor again = recomputation->wanted_like(x);
    const LayerNormBackward norm{.dtype = x.dtype(),
                                 .x = x.raw(),
                                 .gamma = gamma.data<float>(),
                                 .beta = beta.data<float>(),
                                 .mean = mean.data<float>(),
                                 .rstd = rstd.data<float>(),
                                 .dy = dnormed.raw(),
                                 .y = again.raw(),
                                 .dx = to_x.data,
                                 .dgamma = to_gamma.f32(),
                                 .dbeta = to_beta.f32(),
                                 .rows = x.shape().rows(),
                                 .channels = static_cast<int>(x.dim(-1)),
                                 .accumulate_dx = to_x.accumulate,
                                 .accumulate_parameters = to_gamma.accumulate};
    if (product.dy.defined()) {
      args.norm = without_branch(norm);
      device.run(args);
    } else {
      device.run(norm);
    }
    recomputation->arrive(again);
  }
};

}  // namespace

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
  const auto left = std::make_shared<LeftProduct>();
  tape.record(y, {&x, &gamma, &beta},
              Backward{tape.device(), x, gamma, beta, mean, rstd, recomputation, left});
  if (y.gradient()) {
    y.set_recomputation(recomputation);
    y.gradient()->left = left;
  }
  return y;
}

}  // namespace scrawl::ops
