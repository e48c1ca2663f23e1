#include "kernels/cast.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor cast(Tape& tape, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y(tape.device(), x.shape(), dtype);
  tape.device().run(
      Cast{.from = x.dtype(), .to = dtype, .x = x.raw(), .y = y.raw(), .elements = x.elements()});

  tape.record(y, {&x},
              [shape = x.shape(), to_dtype = x.dtype(), &device = tape.device(),
               dx = x.gradient()](const Tensor& dy) {
                const auto to = gradient_target(device, dx, shape, to_dtype);
                device.run(Cast{.from = dy.dtype(),
                                .to = to_dtype,
                                .x = dy.raw(),
                                .y = to.data,
                                .elements = dy.elements(),
                                .accumulate = to.accumulate});
              });
  return y;
}

}  // namespace scrawl::ops
