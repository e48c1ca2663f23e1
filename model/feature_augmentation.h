#pragma once
#include "model/layers.h"

namespace scrawl {

/// Prototype-based feature augmentation (PFA, ICML 2024): every pixel feature attends to the prototypes of
/// the classes in its image and is corrected by what it finds.
///   p = prototype_fc(P), q = feature_fc(f), a = softmax(q pᵀ), h = relu(fc3([a p | q])), out = relu(f +
///   fc4(h)).
class FeatureAugmentation {
 public:
  FeatureAugmentation(const Scope& scope, int width);

  /// feat [N,H,W,D]; prototypes [N,K,D] (local) or [1,K·slots,D] (the bank); present u8 [N,K] -> [N,H,W,D].
  Tensor operator()(Tape& tape, const Tensor& feat, const Tensor& prototypes, const Tensor& present) const;

 private:
  Linear prototype_fc_, feature_fc_, fc3_, fc4_;
};

}  // namespace scrawl
