#include "train/training_step.h"

namespace scrawl {

DeviceBatch to_device(Device& device, const Batch& batch, int classes) {
  return {.image = Tensor::from(device, {batch.count, batch.height, batch.width, 3}, batch.image),
          .label = Tensor::from(device, {batch.count, batch.height, batch.width}, batch.label),
          .present = Tensor::from(device, {batch.count, classes}, batch.present),
          .tags = batch.present};
}

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

LossParts TrainingStep::forward_backward(const DeviceBatch& batch, uint64_t step, float lr_factor,
                                         bool use_prototypes, bool all_parts) {
  const StepState state{.seed = seed_, .step = step, .lr_factor = lr_factor};
  model_.device().upload(state_.raw(), &state, sizeof state);
  model_.parameters().begin_step();
  Tape tape(model_.device(), Tape::Mode::train, this->state());
  LossParts parts = model_.losses(tape, batch, use_prototypes, weights_, all_parts);
  tape.backward(parts.total);
  return parts;
}

void TrainingStep::update(Phase phase) {
  model_.parameters().update(Pfa::active_groups(phase), betas_[0], betas_[1], state());
}

}  // namespace scrawl
