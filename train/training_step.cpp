#include "train/training_step.h"

namespace scrawl {

std::vector<GroupSettings> published_groups(float learning_rate, float weight_decay) {
  return {{learning_rate, weight_decay},
          {0.0f, 0.0f},
          {10 * learning_rate, weight_decay},
          {10 * learning_rate, weight_decay}};
}

TrainingStep::TrainingStep(Pfa& model, uint64_t seed, std::array<double, 2> betas, const LossWeights& weights)
    : model_(model),
      seed_(seed),
      betas_{static_cast<float>(betas[0]), static_cast<float>(betas[1])},
      weights_(weights),
      state_(model.device(), {sizeof(StepState)}, DType::u8) {}

Tensor TrainingStep::run(BatchSource& batches, Phase phase, When when) {
  set_state(when);
  if (!graphs_ || model_.device().watches_each_launch()) return step(batches.make(), phase);
  Captured& captured = captured_[phase];
  if (captured.batches != &batches) {
    captured = {.batches = &batches};
    return step(batches.make(), phase);
  }
  if (!captured.graph)
    captured.graph = model_.device().capture([&] { captured.loss = step(batches.make(), phase); });
  captured.graph.replay();
  return captured.loss;
}

Tensor TrainingStep::step(const DeviceBatch& batch, Phase phase) {
  Parameters& parameters = model_.parameters();
  Tape tape(model_.device(), Tape::Mode::train, state());
  parameters.begin_update(update_in(phase));
  tape.at_marks([&] { parameters.update_finished(); });
  const Tensor loss = forward_backward(tape, batch, phase, /*all_parts=*/false).total;
  parameters.end_update();
  return loss;
}

LossParts TrainingStep::forward_backward(const DeviceBatch& batch, Phase phase, When when, bool all_parts) {
  set_state(when);
  Tape tape(model_.device(), Tape::Mode::train, state());
  return forward_backward(tape, batch, phase, all_parts);
}

LossParts TrainingStep::forward_backward(Tape& tape, const DeviceBatch& batch, Phase phase, bool all_parts) {
  model_.parameters().begin_step();
  LossParts parts = model_.losses(tape, batch, phase, weights_, all_parts);
  if (!all_parts) parts = {.total = parts.total};  // maps go when the backward pass is done with them
  tape.backward(parts.total);
  return parts;
}

void TrainingStep::update(Phase phase) {
  model_.parameters().update(update_in(phase));
}

Parameters::Update TrainingStep::update_in(Phase phase) const {
  return {.active = Pfa::active_groups(phase), .beta1 = betas_[0], .beta2 = betas_[1], .state = state()};
}

void TrainingStep::set_state(When when) {
  const StepState state{.seed = seed_, .step = when.step, .lr_factor = when.lr_factor};
  model_.device().upload(state_.raw(), &state, sizeof state);
}

}  // namespace scrawl
