#include "engine/ops.h"
#include "kernels/matmul.h"

namespace scrawl::ops {

Tensor linear(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  require(weight.shape().rank() == 2 && x.shape().rank() >= 1 && x.dim(-1) == weight.dim(1),
          "linear: x {} does not fit weight {}", x.shape().text(), weight.shape().text());
  require(!bias.defined() || (bias.shape() == Shape{weight.dim(0)} && bias.dtype() == x.dtype()),
          "linear: bias {} does not fit weight {}, or x's type", bias.shape().text(), weight.shape().text());
  const int64_t rows = x.shape().rows(), out = weight.dim(0), in = weight.dim(1);
  Tensor y(tape.device(), x.shape().with_last(out), x.dtype());
  tape.device().run(MatMul{.name = "linear.forward",
                           .dtype = x.dtype(),
                           .c_dtype = x.dtype(),
                           .transpose_b = true,
                           .m = rows,
                           .n = out,
                           .k = in,
                           .a = x.raw(),
                           .lda = in,
                           .b = weight.raw(),
                           .ldb = in,
                           .c = y.raw(),
                           .ldc = out,
                           .bias = bias.defined() ? bias.raw() : nullptr});

  tape.record(y, {&x, &weight, &bias},
              [=, &device = tape.device(), dx = x.gradient(), dw = weight.gradient(),
               db = bias.gradient()](const Tensor& dy) {
                const auto to_w = gradient_target(device, dw, weight.shape());
                const auto to_b = gradient_target(device, db, bias.shape());
                if (to_w.data)
                  device.aside([&] {
                    device.run(MatMul{.name = "linear.backward_weight",
                                      .dtype = dy.dtype(),
                                      .transpose_a = true,
                                      .m = out,
                                      .n = in,
                                      .k = rows,
                                      .a = dy.raw(),
                                      .lda = out,
                                      .b = x.raw(),
                                      .ldb = in,
                                      .c = to_w.data,
                                      .ldc = in,
                                      .a_sum = to_b.f32(),
                                      .accumulate = to_w.accumulate});
                  });
                if (const auto to = gradient_target(device, dx, x.shape(), x.dtype()); to.data)
                  device.run(MatMul{.name = "linear.backward_input",
                                    .dtype = dy.dtype(),
                                    .c_dtype = x.dtype(),
                                    .m = rows,
                                    .n = in,
                                    .k = out,
                                    .a = dy.raw(),
                                    .lda = out,
                                    .b = weight.raw(),
                                    .ldb = in,
                                    .c = to.data,
                                    .ldc = in,
                                    .accumulate = to.accumulate});
                device.join();
              });
  return y;
}

}  // namespace scrawl::ops
