#include "kernels/prototypes.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor extract_prototypes(const Tensor& features, const Tensor& logits, const Tensor& present) {
  require(features.shape().rank() == 4 && logits.shape().rank() == 4 &&
              features.shape().rows() == logits.shape().rows() &&
              present.shape() == Shape{logits.dim(0), logits.dim(3)},
          "extract_prototypes: features {}, logits {}, present {}", features.shape().text(),
          logits.shape().text(), present.shape().text());
  const int positions = static_cast<int>(features.dim(1) * features.dim(2));
  Tensor prototypes(features.device(), {features.dim(0), logits.dim(3), features.dim(3)});
  features.device().run(PrototypeExtraction{.dtype = features.dtype(),
                                            .features = features.raw(),
                                            .logits = logits.raw(),
                                            .present = present.data<uint8_t>(),
                                            .prototypes = prototypes.data<float>(),
                                            .images = features.dim(0),
                                            .positions = positions,
                                            .channels = static_cast<int>(features.dim(3)),
                                            .classes = static_cast<int>(logits.dim(3)),
                                            .top = positions / 12});
  return prototypes;
}

void update_bank(const Tensor& prototypes, const Tensor& present, float rate, const Tensor& bank,
                 const Tensor& filled) {
  require(prototypes.shape().rank() == 3 && bank.shape().rank() == 3 && prototypes.dim(1) == bank.dim(0) &&
              prototypes.dim(2) == bank.dim(2) &&
              present.shape() == Shape{prototypes.dim(0), prototypes.dim(1)} &&
              filled.shape() == Shape{bank.dim(0)},
          "update_bank: prototypes {}, present {}, bank {}, filled {}", prototypes.shape().text(),
          present.shape().text(), bank.shape().text(), filled.shape().text());
  prototypes.device().run(BankUpdate{.prototypes = prototypes.data<float>(),
                                     .present = present.data<uint8_t>(),
                                     .bank = bank.data<float>(),
                                     .filled = filled.data<int32_t>(),
                                     .images = prototypes.dim(0),
                                     .classes = static_cast<int>(bank.dim(0)),
                                     .slots = static_cast<int>(bank.dim(1)),
                                     .channels = static_cast<int>(bank.dim(2)),
                                     .rate = rate});
}

}  // namespace scrawl::ops
