#pragma once
#include <optional>

#include "model/layers.h"

namespace scrawl {

/// Efficient self-attention (SegFormer, section 3.1): queries from every position, keys and values from a map
/// that a convolution with kernel = stride = R has shrunk by R a side.
class EfficientAttention {
 public:
  EfficientAttention(const Scope& scope, int channels, int heads, int reduction, const float* norm_eps);
  /// x [N,H,W,C] -> a branch of the same shape.
  ops::Branch operator()(Tape& tape, const Tensor& x) const;

 private:
  struct SpatialReduction {
    Convolution sr;
    LayerNorm norm;
  };

  int heads_;
  Linear q_, kv_, proj_;
  std::optional<SpatialReduction> reduction_;  // absent when R = 1
};

}  // namespace scrawl
