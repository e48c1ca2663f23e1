#pragma once
#include "train/weights/weight_file.h"

namespace scrawl {

/// Epsilons of layer norms, by their place; see ModelConfig.
struct NormEps {
  float block, other;
};
/// Those of the model that the weights come from.
NormEps norm_eps_of(const WeightFile& file);

/// The model that the weights are of; InputError when they have no decoder.  Sizes come from what the file
/// says of itself, or else from its tensors.  These do not show heads and strides: without a config.json,
/// heads are the method's, and strides the published code's or, for weights of SegFormer itself (a
/// "decode_head."), its own.
ModelConfig model_of(const WeightFile& file);

}  // namespace scrawl
