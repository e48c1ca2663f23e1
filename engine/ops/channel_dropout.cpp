#include "kernels/channel_dropout.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor channel_dropout(Tape& tape, const Tensor& x, float rate) {
  require(x.shape().rank() == 4 && rate >= 0.0f && rate < 1.0f, "channel_dropout: x {}, rate {}",
          x.shape().text(), rate);
  if (!tape.training() || rate == 0.0f) return x;
  Tensor y(tape.device(), x.shape(), x.dtype());
  ChannelDropout dropout{.dtype = x.dtype(),
                         .x = x.raw(),
                         .y = y.raw(),
                         .images = x.dim(0),
                         .positions = x.dim(1) * x.dim(2),
                         .channels = static_cast<int>(x.dim(3)),
                         .rate = rate,
                         .random = tape.next_random()};
  tape.device().run(dropout);

  tape.record(y, {&x}, [dropout, &device = tape.device(), dx = x.gradient()](const Tensor& dy) mutable {
    const auto to = gradient_target(device, dx, dy.shape(), dy.dtype());
    dropout.x = dy.raw();
    dropout.y = to.data;
    dropout.accumulate = to.accumulate;
    device.run(dropout);
  });
  return y;
}

}  // namespace scrawl::ops
