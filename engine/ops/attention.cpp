#include "kernels/attention.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor attention(Tape& tape, const Tensor& q, const Tensor& kv, int heads) {
  require(q.shape().rank() == 3 && kv.shape().rank() == 3 && q.dim(0) == kv.dim(0) &&
              kv.dim(2) == 2 * q.dim(2) && heads > 0 && q.dim(2) % heads == 0 && kv.dim(1) > 0,
          "attention: q {}, kv {}, {} heads", q.shape().text(), kv.shape().text(), heads);
  const AttentionShape shape{.images = q.dim(0),
                             .queries = static_cast<int>(q.dim(1)),
                             .keys = static_cast<int>(kv.dim(1)),
                             .heads = heads,
                             .head_size = static_cast<int>(q.dim(2) / heads)};
  Tensor y(tape.device(), q.shape(), q.dtype()),
      log_sum_exp(tape.device(), {shape.images, heads, shape.queries});
  tape.device().run(AttentionForward{.dtype = q.dtype(),
                                     .shape = shape,
                                     .q = q.raw(),
                                     .kv = kv.raw(),
                                     .y = y.raw(),
                                     .log_sum_exp = log_sum_exp.data<float>()});

  require(!tape.training() || (q.gradient() == nullptr) == (kv.gradient() == nullptr),
          "attention: of q and kv, either both or neither must be differentiated");
  // The closure keeps y's values but must not keep its gradient slot, which belongs to the tape.
  tape.record(y, {&q, &kv}, [=, &device = tape.device(), y = y.slice(0, y.shape())](const Tensor& dy) {
    const auto to_q = gradient_target(device, q.gradient(), q.shape(), q.dtype());
    const auto to_kv = gradient_target(device, kv.gradient(), kv.shape(), kv.dtype());
    device.run(AttentionBackward{.dtype = q.dtype(),
                                 .shape = shape,
                                 .q = q.raw(),
                                 .kv = kv.raw(),
                                 .y = y.raw(),
                                 .log_sum_exp = log_sum_exp.data<float>(),
                                 .dy = dy.raw(),
                                 .dq = to_q.data,
                                 .dkv = to_kv.data,
                                 .accumulate_dq = to_q.accumulate,
                                 .accumulate_dkv = to_kv.accumulate});
  });
  return y;
}

}  // namespace scrawl::ops
