#include <utility>

#include "engine/ops.h"
#include "engine/ops/linear.h"
#include "engine/recomputation.h"
#include "kernels/linear_norm.h"

namespace scrawl::ops {
namespace {

/// dy · W onto what has flowed into its gradient so far, which may be undefined; the sum is in `total`, of
/// this shape.
MatMul onto(const Tensor& gradient, const LeftProduct& left, const Shape& shape, Tensor& total) {
  const bool adds = gradient.defined(), in_place = adds && gradient.unique();
  total = in_place ? gradient : Tensor(left.dy.device(), shape, left.dy.dtype());
  MatMul product = input_gradient(left.dy, left.weight);
  product.c = total.raw();
  product.accumulate = in_place;
  if (adds && !in_place) product.addend = gradient.raw();
  return product;
}

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
  tape.record(sum, y, {&x, &added, &gamma, &beta},
              [=, &device, s = sum.slice(0, sum.shape()), to_x = x.gradient(), to_branch = added.gradient()](
                  const Tensor& dsum, const Tensor& dy) {
                // The sum's gradient is x's, and the branch's as well unless that is scaled: both then share
                // one memory.
                const bool scaled = drop_path.rate > 0.0f;
                const bool last = dsum.defined() && dsum.unique();  // nobody else looks at it: write over it
                Tensor ds, dbranch, dnormed;
                if (to_x || (to_branch && !scaled)) ds = last ? dsum : Tensor(device, s.shape(), s.dtype());
                if (to_branch && scaled) dbranch = Tensor(device, s.shape(), s.dtype());
                LinearNormBackward args{.product = {},
                                        .norm = {.dtype = s.dtype(),
                                                 .sum = s.raw(),
                                                 .gamma = gamma.data<float>(),
                                                 .beta = beta.data<float>(),
                                                 .mean = mean.data<float>(),
                                                 .rstd = rstd.data<float>(),
                                                 .images = images,
                                                 .rows = rows,
                                                 .channels = static_cast<int>(channels[0]),
                                                 .drop_path = drop_path}};
                const LeftProduct product = std::exchange(*left, {});
                const bool has_product = product.dy.defined();
                if (has_product)
                  args.product = onto(dy, product, s.shape(), dnormed);
                else
                  dnormed = dy;
                if (dnormed.defined()) {
                  const auto to_gamma = gradient_target(device, gamma.gradient(), channels);
                  args.norm.dgamma = to_gamma.f32();
                  args.norm.dbeta = gradient_target(device, beta.gradient(), channels).f32();
                  args.norm.accumulate_parameters = to_gamma.accumulate;
                }
                const Tensor again = recomputation->wanted_like(s);
                args.norm.dsum = dsum.raw();
                args.norm.dy = dnormed.raw();
                args.norm.y = again.raw();
                args.norm.dx = ds.raw();
                args.norm.dbranch = dbranch.raw();
                has_product ? device.run(args) : device.run(args.norm);
                recomputation->arrive(again);
                pass_gradient(device, to_x, ds);
                pass_gradient(device, to_branch, scaled ? dbranch : ds);
              });
  if (y.gradient()) {
    y.set_recomputation(recomputation);
    y.gradient()->left = left;
  }
  return {sum, y};
}

}  // namespace scrawl::ops
