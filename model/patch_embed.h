#pragma once
#include "model/layers.h"

namespace scrawl {

/// Overlapped patch embedding (SegFormer, section 3.1): a strided convolution whose windows overlap, then
/// layer norm.  x [N,H,W,in] -> [N,H/stride,W/stride,out], with the norm that comes next, like a block.
struct PatchEmbed {
  PatchEmbed(const Scope& scope, int in, int out, int kernel, int stride, const float* norm_eps)
      : proj(scope.inner("proj"), in, out, kernel, stride, kernel / 2),
        norm(scope.inner("norm"), out, norm_eps) {}

  ops::NormedSum operator()(Tape& tape, const Tensor& x, const LayerNorm& next) const {
    return norm.followed_by(tape, proj(tape, x), next);
  }

  Convolution proj;
  LayerNorm norm;
};

}  // namespace scrawl
