#include "kernels/prototype_attention.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor prototype_attention(Tape& tape, const Tensor& q, const Tensor& prototypes, const Tensor& present) {
  require(q.shape().rank() == 3 && prototypes.shape().rank() == 3 && present.shape().rank() == 2 &&
              prototypes.dim(2) == q.dim(2) && (prototypes.dim(0) == q.dim(0) || prototypes.dim(0) == 1) &&
              present.dim(0) == q.dim(0) && present.dim(1) > 0 && prototypes.dim(1) % present.dim(1) == 0,
          "prototype_attention: q {}, prototypes {}, present {}", q.shape().text(), prototypes.shape().text(),
          present.shape().text());
  const PrototypeAttentionShape shape{.images = q.dim(0),
                                      .prototype_sets = prototypes.dim(0),
                                      .positions = static_cast<int>(q.dim(1)),
                                      .size = static_cast<int>(q.dim(2)),
                                      .classes = static_cast<int>(present.dim(1)),
                                      .slots = static_cast<int>(prototypes.dim(1) / present.dim(1))};
  Tensor y(tape.device(), q.shape().with_last(2 * q.dim(2)), q.dtype());
  Tensor log_sum_exp(tape.device(), {q.dim(0), q.dim(1)});
  tape.device().run(PrototypeAttentionForward{.dtype = q.dtype(),
                                              .shape = shape,
                                              .q = q.raw(),
                                              .p = prototypes.raw(),
                                              .present = present.data<uint8_t>(),
                                              .y = y.raw(),
                                              .log_sum_exp = log_sum_exp.data<float>()});

  require(!tape.training() || (q.gradient() == nullptr) == (prototypes.gradient() == nullptr),
          "prototype_attention: of q and prototypes, either both or neither must be differentiated");
  tape.record(y, {&q, &prototypes},
              [=, y = y.slice(0, y.shape()), q_shape = q.shape(), to_query = q.gradient(),
               &device = tape.device()](const Tensor& dy) {
                const auto to_q = gradient_target(device, to_query, q_shape, dy.dtype());
                const auto to_p =
                    gradient_target(device, prototypes.gradient(), prototypes.shape(), prototypes.dtype());
                device.run(PrototypeAttentionBackward{.dtype = dy.dtype(),
                                                      .shape = shape,
                                                      .p = prototypes.raw(),
                                                      .present = present.data<uint8_t>(),
                                                      .y = y.raw(),
                                                      .log_sum_exp = log_sum_exp.data<float>(),
                                                      .dy = dy.raw(),
                                                      .dq = to_q.data,
                                                      .dp = to_p.data,
                                                      .accumulate_dq = to_q.accumulate,
                                                      .accumulate_dp = to_p.accumulate});
              });
  return y;
}

}  // namespace scrawl::ops
