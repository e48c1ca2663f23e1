#pragma once
#include <optional>
#include <string_view>

#include "model/config.h"
#include "model/feature_augmentation.h"
#include "model/mix_transformer.h"
#include "model/prototype_bank.h"
#include "model/segformer_head.h"

namespace scrawl {

/// The phases of training; see Pfa::losses.
enum class Phase { without, local, global };
inline constexpr std::string_view name_of(Phase phase) {
  constexpr std::string_view names[] = {"without", "local", "global"};
  return names[static_cast<int>(phase)];
}

/// A batch on the device.
struct DeviceBatch {
  Tensor image;    // f32 [N,H,W,3], normalised
  Tensor label;    // u8 [N,H,W], 255 = unlabelled
  Tensor present;  // u8 [N,K], background always 1
};

/// What a forward pass in training leaves to look at.  Undefined where the phase has no such part.
struct LossParts {
  Tensor total, pce, pce_local, con_local, pce_global, con_global;  // [1] each
  Tensor feat, logits, logits_local, logits_global, prototypes;
};

/// The whole network with its bank: SegFormer, and the feature augmentation that trains it (PFA, ICML 2024).
class Pfa {
 public:
  Pfa(Device& device, const ModelConfig& config);
  Pfa(const Pfa&) = delete;  // its parts read config_
  /// Makes the parameters; `groups` in the order of Group.  `storage` is the type of activations, f32 or
  /// bf16; statistics, losses, the values learnt and their gradients are f32 in any case.  InputError for
  /// bf16 on the cpu device, which does not have it.
  void initialise(const std::vector<GroupSettings>& groups, uint64_t seed, bool differentiate_frozen = false,
                  DType storage = DType::f32);

  struct Prediction {
    Tensor feat, logits;  // [N,H/4,W/4,D], [N,H/4,W/4,K]
  };
  Prediction predict(Tape& tape, const Tensor& image) const;
  std::array<Tensor, 4> encode(Tape& tape, const Tensor& image,
                               const MixTransformer::EachMap& each = {}) const;
  Prediction decode(Tape& tape, const std::array<Tensor, 4>& maps) const;

  /// Logits after augmentation by prototypes [N,K,D] of the images themselves, or by the bank.
  Tensor augmented_local(Tape& tape, const Tensor& feat, const Tensor& prototypes,
                         const Tensor& present) const;
  Tensor augmented_global(Tape& tape, const Tensor& feat, const Tensor& present) const;

  /// The phase of the next step, whose images have these tags (u8 [N,K], on the host): known ahead of the
  /// step, so that each phase can be captured.  With `use_prototypes` the step will update the bank, and how
  /// full it is then decides between local and global.
  Phase next_phase(bool use_prototypes, const std::vector<uint8_t>& tags);

  /// One forward pass with the losses of its phase, which next_phase() gave:
  ///   without (no prototypes yet)  pce(logits)
  ///   local (bank not full)        pce(local) + 0.02 con(logits, local)
  ///   global (bank full)           pce(global) + 0.01 con(logits, local) + 0.01 con(logits, global)
  /// What a phase's total leaves out is computed only for those who want to look at `all_parts`.
  /// In the global phase a training tape is walked back from con(logits, local) on the way, to make room: the
  /// parameters' gradients must have begun their step.  The rest is walked from the total.
  LossParts losses(Tape& tape, const DeviceBatch& batch, Phase phase, const LossWeights& weights,
                   bool all_parts = false);

  /// Groups whose parameters receive gradients in a phase.
  static ActiveGroups active_groups(Phase phase);

  const ModelConfig& config() const { return config_; }
  /// For weights that were learnt with another eps in their layer norms; see ModelConfig.
  void set_norm_eps(float block, float other);
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  PrototypeBank& bank() { return bank_; }
  const PrototypeBank& bank() const { return bank_; }
  Device& device() const { return device_; }

 private:
  Prediction decode(Tape& tape, const std::array<Tensor, 4>& maps, ops::DecoderProducts products) const;

  Device& device_;
  ModelConfig config_;
  Parameters parameters_;
  MixTransformer encoder_;
  SegformerHead decoder_;
  FeatureAugmentation feature_augmentation_;
  PrototypeBank bank_;
};

}  // namespace scrawl
