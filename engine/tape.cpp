#include "engine/tape.h"

#include <algorithm>

namespace scrawl {
namespace {

bool any_differentiated(std::initializer_list<const Tensor*> tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const Tensor* x) { return x->gradient() != nullptr; });
}

std::vector<PendingUse> uses_of(std::initializer_list<const Tensor*> tensors) {
  std::vector<PendingUse> uses;
  for (const Tensor* x : tensors)
    if (x->gradient()) uses.emplace_back(x->gradient());
  return uses;
}

}  // namespace

/// Gives an output its gradient slot.
Tape::Output Tape::Output::of(Tensor& y) {
  y.set_gradient(std::make_shared<Gradient>());
  return {y.gradient(), y.shape()};
}

/// What has flowed into it, which the slot then lets go; undefined when nothing has.
Tensor Tape::Output::take_gradient() const {
  if (!gradient || !gradient->written || gradient->of_loss) return {};
  await(gradient->value.device(), *gradient);
  const Tensor dy = std::move(gradient->value);
  gradient->value = {};
  gradient->written = gradient->lent = false;
  return dy.reshape(shape);
}

bool Tape::Output::has_left_product() const {
  return gradient && gradient->left && gradient->left->dy.defined();
}

bool Tape::leave(const std::shared_ptr<Gradient>& slot, const Tensor& dy, const Tensor& weight) const {
  // At a mark weights may change ahead of the next node.
  if (!slot->left || nodes_.size() == walks_down_to_ || at_mark()) return false;
  if (const Node& next = nodes_.back(); next.first.gradient != slot && next.second.gradient != slot)
    return false;
  *slot->left = {dy, weight};
  return true;
}

void Tape::record(Tensor& y, std::initializer_list<const Tensor*> inputs, Backward backward) {
  if (mode_ != Mode::train || !any_differentiated(inputs)) return;
  nodes_.push_back({Output::of(y),
                    {},
                    [backward = std::move(backward)](const Tensor& dy, const Tensor&) { backward(dy); },
                    uses_of(inputs)});
}

void Tape::record(Tensor& y, Tensor& z, std::initializer_list<const Tensor*> inputs, BackwardOfTwo backward) {
  if (mode_ != Mode::train || !any_differentiated(inputs)) return;
  nodes_.push_back({Output::of(y), Output::of(z), std::move(backward), uses_of(inputs)});
}

void Tape::record_loss(Tensor& loss, std::initializer_list<const Tensor*> inputs, BackwardOfLoss backward) {
  require(loss.elements() == 1, "a loss is one number, got shape {}", loss.shape().text());
  if (mode_ != Mode::train || !any_differentiated(inputs)) return;
  const Output output = Output::of(loss);
  output.gradient->of_loss = 0.0f;
  nodes_.push_back({output,
                    {},
                    [backward = std::move(backward), slot = output.gradient](const Tensor&, const Tensor&) {
                      backward(*slot->of_loss);
                    },
                    uses_of(inputs)});
}

void Tape::backward(const Tensor& loss, float weight, size_t down_to) {
  require(loss.gradient() && loss.gradient()->of_loss, "backward: no loss {} was recorded",
          loss.shape().text());
  add_to_loss(loss.gradient(), weight);
  walk(down_to);
  weight_gradients_.start();
  device_.join();
}

void Tape::walk(size_t down_to) {
  walks_down_to_ = down_to;
  while (nodes_.size() > down_to) {
    while (at_mark()) {
      marks_.pop_back();
      if (!at_mark_) continue;
      weight_gradients_.start();
      at_mark_();
    }
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    const Tensor dy = node.first.take_gradient(), dz = node.second.take_gradient();
    if (node.first.is_loss_that_counts() || dy.defined() || dz.defined() || node.first.has_left_product() ||
        node.second.has_left_product())
      node.backward(dy, dz);  // else it did not reach the loss
  }
}

}  // namespace scrawl
