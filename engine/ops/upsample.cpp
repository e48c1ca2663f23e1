#include "kernels/upsample.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor upsample(Tape& tape, const Tensor& x, int height, int width, bool align_corners) {
  require(x.shape().rank() == 4 && height > 0 && width > 0, "upsample: x {} to {}x{}", x.shape().text(),
          height, width);
  const UpsampleShape shape{.images = x.dim(0),
                            .in_height = static_cast<int>(x.dim(1)),
                            .in_width = static_cast<int>(x.dim(2)),
                            .out_height = height,
                            .out_width = width,
                            .channels = static_cast<int>(x.dim(3)),
                            .align_corners = align_corners};
  Tensor y(tape.device(), {x.dim(0), height, width, x.dim(3)}, x.dtype());
  tape.device().run(UpsampleForward{.dtype = x.dtype(), .shape = shape, .x = x.raw(), .y = y.raw()});

  tape.record(
      y, {&x}, [shape, x_shape = x.shape(), &device = tape.device(), dx = x.gradient()](const Tensor& dy) {
        const auto to = gradient_target(device, dx, x_shape, dy.dtype());
        device.run(UpsampleBackward{
            .dtype = dy.dtype(), .shape = shape, .dy = dy.raw(), .dx = to.data, .accumulate = to.accumulate});
      });
  return y;
}

}  // namespace scrawl::ops
