#include "engine/recomputation.h"

#include <utility>

namespace scrawl {

Tensor Recomputation::wanted_like(const Tensor& x) const {
  return wanted() ? Tensor(x.device(), x.shape(), x.dtype()) : Tensor();
}

void Recomputation::arrive(const Tensor& values) {
  if (!wanted()) return;
  std::vector<Waiting> waiting = std::exchange(waiting_, {});  // pending until they are under way
  std::vector<Use> uses;
  for (Waiting& each : waiting) uses.push_back(std::move(each.use));
  values.device().aside([uses = std::move(uses), values] {
    for (const Use& use : uses) use(values);
  });
}

Kept::Kept(const Tensor& x) : x_(x) {
  x_.set_gradient(nullptr);
  if (x.recomputation()) memory_ = std::exchange(x_.buffer_, nullptr);
}

void Kept::use_aside(std::initializer_list<std::shared_ptr<Gradient>> gradients,
                     Recomputation::Use use) const {
  Tensor x = x_;
  if (x.recomputation()) x.buffer_ = memory_.lock();
  if (x.buffer_) {
    x.device().aside([x, use = std::move(use)] { use(x); });
    return;
  }
  Recomputation::Waiting waiting{std::move(use), {}};
  for (const auto& gradient : gradients) waiting.of.emplace_back(gradient);
  x.recomputation()->waiting_.push_back(std::move(waiting));
}

}  // namespace scrawl
