#pragma once
#include "engine/tensor.h"

namespace scrawl::ops {

/// Memory for what is computed from a gradient element by element: its own when nobody else has it.
inline Tensor over(const Tensor& dy) {
  return dy.unique() ? dy.slice(0, dy.shape()) : Tensor(dy.device(), dy.shape(), dy.dtype());
}

}  // namespace scrawl::ops
