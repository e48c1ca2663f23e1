#include "kernels/residual.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor residual(Tape& tape, const Tensor& x, const Tensor& branch, float drop_rate) {
  require(x.shape() == branch.shape() && drop_rate >= 0.0f && drop_rate < 1.0f,
          "residual: x {}, branch {}, drop rate {}", x.shape().text(), branch.shape().text(), drop_rate);
  DropPath drop_path;
  if (tape.training() && drop_rate > 0.0f) drop_path = {drop_rate, tape.next_random()};
  const int64_t images = x.dim(0), elements = images == 0 ? 0 : x.elements() / images;
  Tensor y(tape.device(), x.shape(), x.dtype());
  tape.device().run(ResidualForward{.dtype = x.dtype(),
                                    .x = x.raw(),
                                    .branch = branch.raw(),
                                    .y = y.raw(),
                                    .images = images,
                                    .elements = elements,
                                    .drop_path = drop_path});

  tape.record(y, {&x, &branch},
              [images, elements, drop_path, &device = tape.device(), dx = x.gradient(),
               dbranch = branch.gradient()](const Tensor& dy) {
                pass_gradient(device, dx, dy);
                if (drop_path.rate == 0.0f) {
                  pass_gradient(device, dbranch, dy);
                } else if (const auto to = gradient_target(device, dbranch, dy.shape(), dy.dtype());
                           to.data) {
                  device.run(ResidualBackward{.dtype = dy.dtype(),
                                              .dy = dy.raw(),
                                              .dbranch = to.data,
                                              .images = images,
                                              .elements = elements,
                                              .drop_path = drop_path,
                                              .accumulate = to.accumulate});
                }
              });
  return y;
}

}  // namespace scrawl::ops
