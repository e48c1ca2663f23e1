#include "engine/ops.h"
#include "engine/recomputation.h"
#include "kernels/matmul.h"

namespace scrawl::ops {
namespace {

/// dx (+)= dy W.
void input_backward(Device& device, const Tensor& dy, const Tensor& weight, const GradientTarget& dx) {
  const int64_t out = weight.dim(0), in = weight.dim(1);
  device.run(MatMul{.name = "linear.backward_input",
                    .dtype = dy.dtype(),
                    .c_dtype = dy.dtype(),
                    .m = dy.shape().rows(),
                    .n = in,
                    .k = out,
                    .a = dy.raw(),
                    .lda = out,
                    .b = weight.raw(),
                    .ldb = in,
                    .c = dx.data,
                    .ldc = in,
                    .accumulate = dx.accumulate});
}

}  // namespace

Tensor linear(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  require(weight.shape().rank() == 2 && x.shape().rank() >= 1 && x.dim(-1) == weight.dim(1),
          "linear: x {} does not fit weight {}", x.shape().text(), weight.shape().text());
  require(!bias.defined() || (bias.shape() == Shape{weight.dim(0)} && bias.dtype() == x.dtype()),
          "linear: bias {} does not fit weight {}, or x's type", bias.shape().text(), weight.shape().text());
  const int64_t out = weight.dim(0), in = weight.dim(1);
  Tensor y(tape.device(), x.shape().with_last(out), x.dtype());
  tape.device().run(MatMul{.name = "linear.forward",
                           .dtype = x.dtype(),
                           .c_dtype = x.dtype(),
                           .transpose_b = true,
                           .m = x.shape().rows(),
                           .n = out,
                           .k = in,
                           .a = x.raw(),
                           .lda = in,
                           .b = weight.raw(),
                           .ldb = in,
                           .c = y.raw(),
                           .ldc = out,
                           .bias = bias.defined() ? bias.raw() : nullptr});

  const auto bias_sum = std::make_shared<RowSum>(RowSum{.target = bias.gradient()});
  tape.record(y, {&x, &weight, &bias},
              [=, &tape, kept = Kept(x), shape = x.shape(), dx = x.gradient()](const Tensor& dy) {
                Device& device = tape.device();
                // The input's gradient goes first: others wait for it.
                if (const auto to = gradient_target(device, dx, shape, dy.dtype()); to.data)
                  input_backward(device, dy, weight, to);
                if (!weight.gradient()) return;
                const auto db = bias_sum->yielded ? nullptr : bias_sum->target;
                kept.use({weight.gradient(), db}, [=, &tape](const Tensor& values) {
                  tape.weight_gradients().add(values, dy, weight, db);
                });
              });
  if (y.gradient() && bias_sum->target) y.gradient()->row_sum = bias_sum;
  return y;
}

}  // namespace scrawl::ops
