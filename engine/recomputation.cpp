#include "engine/recomputation.h"

#include <utility>

namespace scrawl {

Tensor Recomputation::wanted_like(const Tensor& x) const {
  return wanted() ? Tensor(x.device(), x.shape(), x.dtype()) : Tensor();
}

void Recomputation::arrive(const Tensor& values) {
  const std::vector<Waiting> waiting = std::exchange(waiting_, {});  // pending until they are under way
  for (const Waiting& each : waiting) each.use(values);
}

Kept::Kept(const Tensor& x) : x_(x) {
  x_.set_gradient(nullptr);
  if (x.recomputation()) memory_ = std::exchange(x_.buffer_, nullptr);
}

void Kept::use(std::initializer_list<std::shared_ptr<Gradient>> gradients, Recomputation::Use use) const {
  Tensor x = x_;
  if (x.recomputation()) x.buffer_ = memory_.lock();
  if (x.buffer_) return use(x);
  Recomputation::Waiting waiting{std::move(use), {}};
  for (const auto& gradient : gradients) waiting.of.emplace_back(gradient);
  x.recomputation()->waiting_.push_back(std::move(waiting));
}

bool Kept::is_shared_only_with(const Tensor& other) const {
  return x_.buffer_ && x_.buffer_ == other.buffer_ && x_.buffer_.use_count() == 2;
}

}  // namespace scrawl
