#pragma once
#include "model/layers.h"

namespace scrawl {

/// Mix-FFN (SegFormer, equation 3): linear to ratio·C, depthwise 3×3 convolution, GELU, linear back to C. The
/// zero padding of the convolution tells positions apart, so no position embedding is needed.
class MixFfn {
 public:
  MixFfn(const Scope& scope, int channels, int ratio);
  /// x [N,H,W,C] -> a branch of the same shape.
  ops::Branch operator()(Tape& tape, const Tensor& x) const;

 private:
  Linear fc1_;
  Parameter& depthwise_weight_;
  Parameter& depthwise_bias_;
  Linear fc2_;
};

}  // namespace scrawl
