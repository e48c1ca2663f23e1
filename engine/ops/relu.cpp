#include "kernels/relu.h"

#include "engine/ops.h"
#include "engine/ops/in_place.h"

namespace scrawl::ops {

Tensor relu(Tape& tape, Tensor x) {
  Tensor y = over(x);
  tape.device().run(ReluForward{.dtype = x.dtype(), .x = x.raw(), .y = y.raw(), .elements = x.elements()});

  // y tells where x was positive, so x itself need not be kept.
  tape.record(y, {&x},
              [y = y.slice(0, y.shape()), &device = tape.device(), dx = x.gradient()](const Tensor& dy) {
                const auto to_sum = row_sum_target(device, dx, y.dim(-1));
                const auto to = gradient_target(device, dx, y.shape(), y.dtype());
                device.run(ReluBackward{.dtype = y.dtype(),
                                        .y = y.raw(),
                                        .dy = dy.raw(),
                                        .dx = to.data,
                                        .dx_sum = to_sum.f32(),
                                        .elements = y.elements(),
                                        .columns = static_cast<int>(y.dim(-1)),
                                        .accumulate = to.accumulate,
                                        .accumulate_sum = to_sum.accumulate});
              });
  return y;
}

Tensor add_relu(Tape& tape, const Tensor& a, Tensor b) {
  require(a.shape() == b.shape(), "add_relu: a {}, b {}", a.shape().text(), b.shape().text());
  Tensor y = over(b);
  tape.device().run(ReluForward{
      .dtype = a.dtype(), .x = a.raw(), .addend = b.raw(), .y = y.raw(), .elements = a.elements()});

  tape.record(y, {&a, &b},
              [y = y.slice(0, y.shape()), &device = tape.device(), da = a.gradient(),
               db = b.gradient()](const Tensor& dy) {
                const auto to_sum = row_sum_target(device, db, y.dim(-1));
                const Tensor dsum = over(dy);  // the gradient of both
                device.run(ReluBackward{.dtype = y.dtype(),
                                        .y = y.raw(),
                                        .dy = dy.raw(),
                                        .dx = dsum.raw(),
                                        .dx_sum = to_sum.f32(),
                                        .elements = y.elements(),
                                        .columns = static_cast<int>(y.dim(-1)),
                                        .accumulate_sum = to_sum.accumulate});
                pass_gradient(device, da, dsum);
                pass_gradient(device, db, dsum);
              });
  return y;
}

}  // namespace scrawl::ops
