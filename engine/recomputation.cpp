#include "engine/recomputation.h"

#include <utility>

namespace scrawl {

Tensor Recomputation::wanted_like(const Tensor& x) const {
  return wanted() ? Tensor(x.device(), x.shape(), x.dtype()) : Tensor();
}

void Recomputation::arrive(const Tensor& values) {
  if (!wanted()) return;
  values.device().aside([uses = std::exchange(uses_, {}), values] {
    for (const Use& use : uses) use(values);
  });
}

Kept::Kept(const Tensor& x) : x_(x) {
  x_.set_gradient(nullptr);
  if (x.recomputation()) memory_ = std::exchange(x_.buffer_, nullptr);
}

void Kept::use_aside(Recomputation::Use use) const {
  Tensor x = x_;
  if (x.recomputation()) x.buffer_ = memory_.lock();
  if (!x.buffer_) return x.recomputation()->uses_.push_back(std::move(use));
  x.device().aside([x, use = std::move(use)] { use(x); });
}

}  // namespace scrawl
