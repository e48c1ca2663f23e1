#pragma once
#include <array>
#include <map>

#include "model/pfa.h"
#include "train/batch_source.h"

namespace scrawl {

/// The published optimiser's groups, in the order of Group: encoder, encoder norms (frozen), and decoder and
/// feature augmentation at ten times the rate.
std::vector<GroupSettings> published_groups(float learning_rate, float weight_decay);

/// One step of training: forward, backward, AdamW.  What changes from step to step goes through device
/// memory, so that a captured step can be replayed.
class TrainingStep {
 public:
  TrainingStep(Pfa& model, uint64_t seed, std::array<double, 2> betas, const LossWeights& weights);

  /// Number of the step, from 0, which random numbers depend on, and its share of the base learning rate.
  struct When {
    uint64_t step = 0;
    float lr_factor = 1.0f;
  };

  /// A whole step with the batch that `batches` has next: the loss [1], valid until the next step.  The first
  /// step of a phase runs kernel by kernel, the second is captured, and from then on it is replayed.
  Tensor run(BatchSource& batches, Phase phase, When when);

  /// The same kernel by kernel.  The total loss of a batch, with the gradients of all parameters behind it;
  /// with `all_parts` all that Pfa::losses leaves to look at.
  LossParts forward_backward(const DeviceBatch& batch, Phase phase, When when, bool all_parts = false);
  /// Applies the gradients of the last forward_backward, which was in `phase`.
  void update(Phase phase);

  /// Whether run() captures, unless each launch is watched; without, every kernel is launched for itself.
  void use_graphs(bool use) { graphs_ = use; }

 private:
  struct Captured {
    const BatchSource* batches = nullptr;
    Graph graph;
    Tensor loss;
  };

  void set_state(When when);
  LossParts forward_backward(Tape& tape, const DeviceBatch& batch, Phase phase, bool all_parts);
  Parameters::Update update_in(Phase phase) const;
  Tensor step(const DeviceBatch& batch, Phase phase);
  const StepState* state() const { return static_cast<const StepState*>(state_.raw()); }

  Pfa& model_;
  uint64_t seed_;
  std::array<float, 2> betas_;
  LossWeights weights_;
  Tensor state_;  // a StepState in device memory
  bool graphs_ = true;
  std::map<Phase, Captured> captured_;
};

}  // namespace scrawl
