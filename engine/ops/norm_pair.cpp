#include "engine/ops.h"
#include "engine/recomputation.h"
#include "kernels/layer_norm.h"

namespace scrawl::ops {
namespace {

/// Of every row that a norm has seen.
struct Moments {
  Moments(Device& device, int64_t rows) : mean(device, {rows}), rstd(device, {rows}) {}
  Tensor mean, rstd;
};

/// The way back: one kernel if the norms are frozen, as an encoder's are; else those of one norm after the
/// other, which yield the gradients of gamma and beta, too, but want z kept.
struct Backward {
  Device& device;
  Tensor x, z;  // z is undefined if the norms are frozen
  Norm first, second;
  Moments of_x, of_z;
  std::shared_ptr<Recomputation> recomputation;

  void operator()(const Tensor& dz, const Tensor& dy) const {
    const Tensor again = recomputation->wanted_like(x);
    if (z.defined())
      one_by_one(dz, dy, again);
    else
      at_once(dz, dy, again);
    recomputation->arrive(again);
  }

  /// Memory for a gradient of x's shape: that of dz, unless somebody else looks at it.
  Tensor over(const Tensor& dz) const {
    return dz.defined() && dz.unique() ? dz : Tensor(device, x.shape(), x.dtype());
  }

  void at_once(const Tensor& dz, const Tensor& dy, const Tensor& again) const {
    const Tensor dx = over(dz);
    device.run(NormPairBackward{.dtype = x.dtype(),
                                .x = x.raw(),
                                .first = {.gamma = first.gamma.data<float>(),
                                          .beta = first.beta.data<float>(),
                                          .mean = of_x.mean.data<float>(),
                                          .rstd = of_x.rstd.data<float>()},
                                .second = {.gamma = second.gamma.data<float>(),
                                           .beta = second.beta.data<float>(),
                                           .mean = of_z.mean.data<float>(),
                                           .rstd = of_z.rstd.data<float>()},
                                .dz = dz.raw(),
                                .dy = dy.raw(),
                                .y = again.raw(),
                                .dx = dx.raw(),
                                .rows = x.shape().rows(),
                                .channels = static_cast<int>(x.dim(-1))});
    pass_gradient(device, x.gradient(), dx);
  }

  void one_by_one(const Tensor& dz, const Tensor& dy, const Tensor& again) const {
    Tensor total = dz;
    if (dy.defined()) {
      total = over(dz);
      const auto to_gamma = target(second.gamma), to_beta = target(second.beta);
      device.run(ResidualNormBackward{.dtype = x.dtype(),
                                      .sum = z.raw(),
                                      .gamma = second.gamma.data<float>(),
                                      .beta = second.beta.data<float>(),
                                      .mean = of_z.mean.data<float>(),
                                      .rstd = of_z.rstd.data<float>(),
                                      .dsum = dz.raw(),
                                      .dy = dy.raw(),
                                      .y = again.raw(),
                                      .dx = total.raw(),
                                      .dgamma = to_gamma.f32(),
                                      .dbeta = to_beta.f32(),
                                      .images = 1,
                                      .rows = x.shape().rows(),
                                      .channels = static_cast<int>(x.dim(-1)),
                                      .accumulate_parameters = to_gamma.accumulate});
    }
    const auto to_x = gradient_target(device, x.gradient(), x.shape(), x.dtype());
    const auto to_gamma = target(first.gamma), to_beta = target(first.beta);
    device.run(LayerNormBackward{.dtype = x.dtype(),
                                 .x = x.raw(),
                                 .gamma = first.gamma.data<float>(),
                                 .mean = of_x.mean.data<float>(),
                                 .rstd = of_x.rstd.data<float>(),
                                 .dy = total.raw(),
                                 .dx = to_x.data,
                                 .dgamma = to_gamma.f32(),
                                 .dbeta = to_beta.f32(),
                                 .rows = x.shape().rows(),
                                 .channels = static_cast<int>(x.dim(-1)),
                                 .accumulate_dx = to_x.accumulate,
                                 .accumulate_parameters = to_gamma.accumulate});
  }

  GradientTarget target(const Tensor& parameter) const {
    return gradient_target(device, parameter.gradient(), parameter.shape());
  }
};

}  // namespace

NormedSum norm_pair(Tape& tape, const Tensor& x, const Norm& first, const Norm& second) {
  const Shape channels{x.dim(-1)};
  bool learns = false;
  for (const Norm* norm : {&first, &second}) {
    require(norm->gamma.shape() == channels && norm->beta.shape() == channels,
            "norm_pair: x {}, gamma {}, beta {}", x.shape().text(), norm->gamma.shape().text(),
            norm->beta.shape().text());
    learns = learns || norm->gamma.gradient() || norm->beta.gradient();
  }
  const int64_t rows = x.shape().rows();
  Tensor z(tape.device(), x.shape(), x.dtype()), y(tape.device(), x.shape(), x.dtype());
  const Moments of_x(tape.device(), rows), of_z(tape.device(), rows);
  tape.device().run(NormPairForward{.dtype = x.dtype(),
                                    .x = x.raw(),
                                    .first = {.gamma = first.gamma.data<float>(),
                                              .beta = first.beta.data<float>(),
                                              .mean = of_x.mean.data<float>(),
                                              .rstd = of_x.rstd.data<float>(),
                                              .eps = first.eps},
                                    .second = {.gamma = second.gamma.data<float>(),
                                               .beta = second.beta.data<float>(),
                                               .mean = of_z.mean.data<float>(),
                                               .rstd = of_z.rstd.data<float>(),
                                               .eps = second.eps},
                                    .z = z.raw(),
                                    .y = y.raw(),
                                    .rows = rows,
                                    .channels = static_cast<int>(channels[0])});

  const auto recomputation = std::make_shared<Recomputation>();
  const Tensor kept = learns ? z.slice(0, z.shape()) : Tensor();
  tape.record(z, y, {&x, &first.gamma, &first.beta, &second.gamma, &second.beta},
              Backward{tape.device(), x, kept, first, second, of_x, of_z, recomputation});
  if (y.gradient()) y.set_recomputation(recomputation);
  return {z, y};
}

}  // namespace scrawl::ops
