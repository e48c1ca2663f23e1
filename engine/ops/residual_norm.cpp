#include "engine/ops.h"
#include "engine/recomputation.h"
#include "kernels/layer_norm.h"

namespace scrawl::ops {

NormedSum residual_norm(Tape& tape, const Tensor& x, const Tensor& branch, float drop_rate,
                        const Tensor& gamma, const Tensor& beta, float eps) {
  const Shape channels{x.dim(-1)};
  require(x.shape().rank() >= 2 && x.shape() == branch.shape() && drop_rate >= 0.0f && drop_rate < 1.0f &&
              gamma.shape() == channels && beta.shape() == channels,
          "residual_norm: x {}, branch {}, drop rate {}, gamma {}, beta {}", x.shape().text(),
          branch.shape().text(), drop_rate, gamma.shape().text(), beta.shape().text());
  DropPath drop_path;
  if (tape.training() && drop_rate > 0.0f) drop_path = {drop_rate, tape.next_random()};
  const int64_t images = x.dim(0), all_rows = x.shape().rows(), rows = images == 0 ? 0 : all_rows / images;
  Tensor sum(tape.device(), x.shape(), x.dtype()), y(tape.device(), x.shape(), x.dtype());
  Tensor mean(tape.device(), {all_rows}), rstd(tape.device(), {all_rows});
  tape.device().run(ResidualNormForward{.dtype = x.dtype(),
                                        .x = x.raw(),
                                        .branch = branch.raw(),
                                        .gamma = gamma.data<float>(),
                                        .beta = beta.data<float>(),
                                        .sum = sum.raw(),
                                        .y = y.raw(),
                                        .mean = mean.data<float>(),
                                        .rstd = rstd.data<float>(),
                                        .images = images,
                                        .rows = rows,
                                        .channels = static_cast<int>(channels[0]),
                                        .eps = eps,
                                        .drop_path = drop_path});

  // The sum's gradient is x's, and the branch's as well unless that is scaled: both then share one memory.
  const auto recomputation = std::make_shared<Recomputation>();
  tape.record(sum, y, {&x, &branch, &gamma, &beta},
              [=, &device = tape.device(), s = sum.slice(0, sum.shape()), to_x = x.gradient(),
               to_branch = branch.gradient()](const Tensor& dsum, const Tensor& dy) {
                const bool scaled = drop_path.rate > 0.0f;
                const bool last = dsum.defined() && dsum.unique();  // nobody else looks at it: write over it
                Tensor ds, dbranch;
                if (to_x || (to_branch && !scaled)) ds = last ? dsum : Tensor(device, s.shape(), s.dtype());
                if (to_branch && scaled) dbranch = Tensor(device, s.shape(), s.dtype());
                GradientTarget to_gamma, to_beta;
                if (dy.defined()) {
                  to_gamma = gradient_target(device, gamma.gradient(), channels);
                  to_beta = gradient_target(device, beta.gradient(), channels);
                }
                const Tensor again = recomputation->wanted_like(s);
                device.run(ResidualNormBackward{.dtype = s.dtype(),
                                                .sum = s.raw(),
                                                .gamma = gamma.data<float>(),
                                                .beta = beta.data<float>(),
                                                .mean = mean.data<float>(),
                                                .rstd = rstd.data<float>(),
                                                .dsum = dsum.raw(),
                                                .dy = dy.raw(),
                                                .y = again.raw(),
                                                .dx = ds.raw(),
                                                .dbranch = dbranch.raw(),
                                                .dgamma = to_gamma.f32(),
                                                .dbeta = to_beta.f32(),
                                                .images = images,
                                                .rows = rows,
                                                .channels = static_cast<int>(channels[0]),
                                                .drop_path = drop_path,
                                                .accumulate_parameters = to_gamma.accumulate});
                recomputation->arrive(again);
                pass_gradient(device, to_x, ds);
                pass_gradient(device, to_branch, scaled ? dbranch : ds);
              });
  if (y.gradient()) y.set_recomputation(recomputation);
  return {sum, y};
}

}  // namespace scrawl::ops
