#pragma once
#include <array>

#include "data/loader.h"
#include "model/pfa.h"

namespace scrawl {

/// Copies a batch to the device.
DeviceBatch to_device(Device& device, const Batch& batch, int classes);

/// The published optimiser's groups, in the order of Group: encoder, encoder norms (frozen), and decoder and
/// feature augmentation at ten times the rate.
std::vector<GroupSettings> published_groups(float learning_rate, float weight_decay);

/// One step of training: forward, backward, AdamW.  What changes from step to step goes through device
/// memory, so that a captured step can be replayed.
class TrainingStep {
 public:
  TrainingStep(Pfa& model, uint64_t seed, std::array<double, 2> betas, const LossWeights& weights);

  /// Losses of a batch, with the gradients of all parameters behind them.  For `all_parts` see Pfa::losses.
  LossParts forward_backward(const DeviceBatch& batch, uint64_t step, float lr_factor, bool use_prototypes,
                             bool all_parts = false);
  /// Applies the gradients of the last forward_backward, which was in `phase`.
  void update(Phase phase);

 private:
  const StepState* state() const { return static_cast<const StepState*>(state_.raw()); }

  Pfa& model_;
  uint64_t seed_;
  std::array<float, 2> betas_;
  LossWeights weights_;
  Tensor state_;  // a StepState in device memory
};

}  // namespace scrawl
