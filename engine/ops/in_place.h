#pragma once
#include "engine/tensor.h"

namespace scrawl::ops {

/// Memory for what is computed from `x` element by element: x's own when nobody else has it, or may come back
/// to it (see Kept).
inline Tensor over(const Tensor& x) {
  return x.unique() && !x.recomputation() ? x.slice(0, x.shape()) : Tensor(x.device(), x.shape(), x.dtype());
}

}  // namespace scrawl::ops
