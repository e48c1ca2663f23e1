#include "model/feature_augmentation.h"

namespace scrawl {

FeatureAugmentation::FeatureAugmentation(const Scope& scope, int width)
    : prototype_fc_(scope.inner("prototype_fc"), width, width / 2, LinearInit::uniform),
      feature_fc_(scope.inner("feature_fc"), width, width / 2, LinearInit::uniform),
      fc3_(scope.inner("fc3"), width, width / 2, LinearInit::uniform),
      fc4_(scope.inner("fc4"), width / 2, width, LinearInit::uniform) {}

Tensor FeatureAugmentation::operator()(Tape& tape, const Tensor& feat, const Tensor& prototypes,
                                       const Tensor& present) const {
  const Tensor f = feat.reshape({feat.dim(0), feat.dim(1) * feat.dim(2), feat.dim(3)});
  const Tensor p = prototype_fc_(tape, prototypes);
  const Tensor attended = ops::prototype_attention(tape, feature_fc_(tape, f), p, present);  // [a p | q]
  const Tensor h = fc3_.relu(tape, attended);
  return fc4_.add_relu(tape, h, f).reshape(feat.shape());
}

}  // namespace scrawl
