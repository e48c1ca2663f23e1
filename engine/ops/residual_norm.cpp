#include <utility>

#include "engine/ops.h"
#include "engine/ops/linear.h"
#include "engine/recomputation.h"
#include "kernels/linear_norm.h"

namespace scrawl::ops {
namespace {

/// What goes back through a residual sum and its norm.
struct Sum {
  Tensor sum, gamma, beta, mean, rstd;
  int64_t images, rows;
  DropPath drop_path;
  std::shared_ptr<Gradient> to_x, to_branch;
  std::shared_ptr<Recomputation> recomputation;  // of what the norm yields
  std::shared_ptr<LeftProduct> left;

  void backward(Device& device, const Tensor& dsum, const Tensor& dy) const {
    // The sum's gradient is x's, and the branch's as well unless that is scaled: both then share one memory.
    const bool scaled = drop_path.rate > 0.0f;
    const bool last = dsum.defined() && dsum.unique();  // nobody else looks at it: write over it
    const auto like_sum = [&] { return Tensor(device, sum.shape(), sum.dtype()); };
    Tensor ds, dbranch, dnormed;
    if (to_x || (to_branch && !scaled)) ds = last ? dsum : like_sum();
    if (to_branch && scaled) dbranch = like_sum();
    const LeftProduct product = std::exchange(*left, {});
    const bool has_product = product.dy.defined();
    LinearNormBackward args;
    if (has_product)
      args.product = left_product(product, dy, sum.shape(), dnormed);
    else
      dnormed = dy;
    args.norm = kernel(device, dnormed.defined());
    const Tensor again = recomputation->wanted_like(sum);
    args.norm.dsum = dsum.raw();
    args.norm.dy = dnormed.raw();
    args.norm.y = again.raw();
    args.norm.dx = ds.raw();
    args.norm.dbranch = dbranch.raw();
    has_product ? device.run(args) : device.run(args.norm);
    recomputation->arrive(again);
    pass_gradient(device, to_x, ds);
    pass_gradient(device, to_branch, scaled ? dbranch : ds);
  }

 private:
  /// What does not depend on where gradients lie, and those of gamma and beta, if they are to be had.
  ResidualNormBackward kernel(Device& device, bool learns) const {
    ResidualNormBackward args{.dtype = sum.dtype(),
                              .sum = sum.raw(),
                              .gamma = gamma.data<float>(),
                              .beta = beta.data<float>(),
                              .mean = mean.data<float>(),
                              .rstd = rstd.data<float>(),
                              .images = images,
                              .rows = rows,
                              .channels = static_cast<int>(sum.dim(-1)),
                              .drop_path = drop_path};
    if (!learns) return args;
    const auto to_gamma = gradient_target(device, gamma.gradient(), gamma.shape());
    args.dgamma = to_gamma.f32();
    args.dbeta = gradient_target(device, beta.gradient(), beta.shape()).f32();
    args.accumulate_parameters = to_gamma.accumulate;
    return args;
  }
};

}  // namespace

NormedSum residual_norm(Tape& tape, const Tensor& x, const Branch& branch, float drop_rate,
                        const Tensor& gamma, const Tensor& beta, float eps) {
  const Shape channels{x.dim(-1)};
  const auto& [input, weight, bias] = branch;
  const bool linear = weight.defined();
  const Shape branch_shape = linear ? input.shape().with_last(weight.dim(0)) : input.shape();
  require(x.shape().rank() >= 2 && x.shape() == branch_shape && drop_rate >= 0.0f && drop_rate < 1.0f &&
              gamma.shape() == channels && beta.shape() == channels,
          "residual_norm: x {}, branch {}, drop rate {}, gamma {}, beta {}", x.shape().text(),
          branch_shape.text(), drop_rate, gamma.shape().text(), beta.shape().text());
  Device& device = tape.device();
  DropPath drop_path;
  if (tape.training() && drop_rate > 0.0f) drop_path = {drop_rate, tape.next_random()};
  const int64_t images = x.dim(0), all_rows = x.shape().rows(), rows = images == 0 ? 0 : all_rows / images;
  Tensor sum(device, x.shape(), x.dtype()), y(device, x.shape(), x.dtype());
  Tensor mean(device, {all_rows}), rstd(device, {all_rows});
  const ResidualNormForward norm{.dtype = x.dtype(),
                                 .x = x.raw(),
                                 .branch = linear ? sum.raw() : input.raw(),
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
                                 .drop_path = drop_path};
  Tensor added = input;  // the branch's output
  if (linear) {
    MatMul product = linear_product(input, weight, bias);
    product.c = sum.raw();
    device.run(LinearNormForward{product, norm});
    added = Tensor::passing(device, x.shape(), x.dtype());
    record_linear(tape, added, input, weight, bias);
  } else {
    device.run(norm);
  }

  const auto recomputation = std::make_shared<Recomputation>();
  const auto left = std::make_shared<LeftProduct>();
  const Sum back{
      sum.slice(0, sum.shape()), gamma,         beta, mean, rstd, images, rows, drop_path, x.gradient(),
      added.gradient(),          recomputation, left};
  tape.record(sum, y, {&x, &added, &gamma, &beta},
              [back, &device](const Tensor& dsum, const Tensor& dy) { back.backward(device, dsum, dy); });
  if (y.gradient()) {
    y.set_recomputation(recomputation);
    y.gradient()->left = left;
  }
  return {sum, y};
}

}  // namespace scrawl::ops
