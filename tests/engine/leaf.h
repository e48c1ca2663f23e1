#pragma once
#include <memory>
#include <vector>

#include "engine/tape.h"

namespace scrawl {

/// A differentiated tensor that no operation has made.
inline Tensor leaf(Device& device, const Shape& shape, const std::vector<float>& values) {
  Tensor x = Tensor::from(device, shape, values);
  x.set_gradient(std::make_shared<Gradient>());
  return x;
}

}  // namespace scrawl
