#pragma once
#include <array>
#include <deque>

#include "model/config.h"
#include "model/layers.h"

namespace scrawl {

/// The all-MLP decoder (SegFormer, section 3.2).  Its concatenation never exists: see ops::decoder_fuse.
class SegformerHead {
 public:
  SegformerHead(const Scope& scope, const ModelConfig& config);

  /// The products of its weights, for maps of this type; they can be under way while these are encoded.
  ops::DecoderProducts products(Device& device, DType map_dtype) const;
  /// The four maps, finest first -> feat [N,H/4,W/4,D]: fused, normalised, rectified, channels dropped.
  Tensor features(Tape& tape, const std::array<Tensor, 4>& maps, ops::DecoderProducts products) const;
  /// feat -> logits [N,H/4,W/4,K].  Also classifies augmented features.
  Tensor classify(Tape& tape, const Tensor& feat) const { return linear_pred_(tape, feat); }

 private:
  struct BatchNorm {
    Parameter &gamma, &beta, &running_mean, &running_var;
  };

  std::deque<Linear> linear_c_;  // one a level
  Parameter& fuse_;              // [D, 4D], columns of the coarsest level first
  BatchNorm norm_;
  Linear linear_pred_;
  float dropout_;
};

}  // namespace scrawl
