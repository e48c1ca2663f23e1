#pragma once
#include "model/layers.h"

namespace scrawl {

/// Overlapped patch embedding (SegFormer, section 3.1): a strided convolution whose windows overlap, then
/// layer norm. x [N,H,W,in] -> [N,H/stride,W/stride,out].
struct PatchEmbed {
  PatchEmbed(const Scope& scope, int in, int out, int kernel, int stride, const float* norm_eps)
      : proj(scope.inner("proj"), in, out, kernel, stride, kernel / 2),
        norm(scope.inner("norm"), out, norm_eps) {}

  Tensor operator()(Tape& tape, const Tensor& x) const { return norm(tape, proj(tape, x)); }

  Convolution proj;
  LayerNorm norm;
};

}  // namespace scrawl
