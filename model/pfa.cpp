#include "model/pfa.h"

#include <utility>

namespace scrawl {

Pfa::Pfa(Device& device, const ModelConfig& config)
    : device_(device),
      config_(config),
      encoder_({parameters_, "encoder.", Group::encoder}, config_),
      decoder_({parameters_, "decoder.", Group::decoder}, config),
      feature_augmentation_({parameters_, "feature_aug.", Group::feature_augmentation}, config.width),
      bank_(device, config) {}

void Pfa::initialise(const std::vector<GroupSettings>& groups, uint64_t seed, bool differentiate_frozen,
                     DType storage) {
  if (storage == DType::bf16 && device_.kind() == DeviceKind::cpu)
    throw InputError("bf16 is for the cuda and simt devices; the cpu device computes in fp32 only");
  parameters_.allocate(device_, groups, seed, differentiate_frozen, storage);
}

std::array<Tensor, 4> Pfa::encode(Tape& tape, const Tensor& image,
                                  const MixTransformer::EachMap& each) const {
  return encoder_(tape, ops::cast(tape, image, parameters_.storage()), each);
}

Pfa::Prediction Pfa::predict(Tape& tape, const Tensor& image) const {
  ops::DecoderProducts products = decoder_.products(device_, parameters_.storage());
  const std::array<Tensor, 4> maps =
      encode(tape, image, [&](int stage, const Tensor& map) { ops::decoder_project(products, stage, map); });
  return decode(tape, maps, std::move(products));
}

Pfa::Prediction Pfa::decode(Tape& tape, const std::array<Tensor, 4>& maps) const {
  return decode(tape, maps, decoder_.products(device_, maps[0].dtype()));
}

Pfa::Prediction Pfa::decode(Tape& tape, const std::array<Tensor, 4>& maps,
                            ops::DecoderProducts products) const {
  Prediction prediction;
  prediction.feat = decoder_.features(tape, maps, std::move(products));
  prediction.logits = decoder_.classify(tape, prediction.feat);
  return prediction;
}

Tensor Pfa::augmented_local(Tape& tape, const Tensor& feat, const Tensor& prototypes,
                            const Tensor& present) const {
  return decoder_.classify(
      tape, feature_augmentation_(tape, feat, ops::cast(tape, prototypes, feat.dtype()), present));
}

Tensor Pfa::augmented_global(Tape& tape, const Tensor& feat, const Tensor& present) const {
  return decoder_.classify(
      tape, feature_augmentation_(tape, feat, ops::cast(tape, bank_.shared(), feat.dtype()), present));
}

Phase Pfa::next_phase(bool use_prototypes, const std::vector<uint8_t>& tags) {
  if (!use_prototypes) return Phase::without;
  bank_.expect(tags);
  return bank_.full() ? Phase::global : Phase::local;
}

LossParts Pfa::losses(Tape& tape, const DeviceBatch& batch, Phase phase, const LossWeights& weights,
                      bool all_parts) {
  LossParts parts;
  const ops::Labels labels = ops::count_labelled(batch.label);
  const auto [feat, logits] = predict(tape, batch.image);
  parts.feat = feat;
  parts.logits = logits;
  if (phase == Phase::without || all_parts) parts.pce = ops::partial_cross_entropy(tape, logits, labels);
  if (phase == Phase::without) {
    parts.total = ops::weighted_sum(tape, {{parts.pce, weights.without}});
    return parts;
  }

  parts.prototypes = ops::extract_prototypes(feat, logits, batch.present);
  // The local branch does not look at the bank.
  const Device::Aside banked = device_.aside(
      [this, prototypes = parts.prototypes, present = batch.present] { bank_.update(prototypes, present); });
  const size_t local_branch = tape.position();
  parts.logits_local = augmented_local(tape, feat, parts.prototypes, batch.present);
  parts.con_local = ops::consistency(tape, logits, parts.logits_local);
  if (phase == Phase::local || all_parts)
    parts.pce_local = ops::partial_cross_entropy(tape, parts.logits_local, labels);
  device_.join(banked);
  if (phase == Phase::local) {
    parts.total =
        ops::weighted_sum(tape, {{parts.pce_local, weights.local_pce}, {parts.con_local, weights.local_con}});
    return parts;
  }

  // Nothing else depends on the local branch now: it goes back before the global one, which takes its memory.
  if (tape.training()) tape.backward(parts.con_local, weights.global_con_local, local_branch);
  parts.con_local = parts.con_local.slice(0, {1});  // only to look at from here on

  parts.logits_global = augmented_global(tape, feat, batch.present);
  parts.con_global = ops::consistency(tape, logits, parts.logits_global);
  parts.pce_global = ops::partial_cross_entropy(tape, parts.logits_global, labels);
  parts.total = ops::weighted_sum(tape, {{parts.pce_global, weights.global_pce},
                                         {parts.con_local, weights.global_con_local},
                                         {parts.con_global, weights.global_con_global}});
  return parts;
}

void Pfa::set_norm_eps(float block, float other) {
  config_.block_norm_eps = block;
  config_.other_norm_eps = other;
}

ActiveGroups Pfa::active_groups(Phase phase) {
  constexpr auto all = (ActiveGroups{1} << kGroups) - 1;
  return phase == Phase::without ? all ^ (ActiveGroups{1} << static_cast<int>(Group::feature_augmentation))
                                 : all;
}

}  // namespace scrawl
