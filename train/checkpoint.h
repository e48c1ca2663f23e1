#pragma once
#include <filesystem>

#include "model/pfa.h"
#include "train/checkpoint_info.h"
#include "train/weights/weight_file.h"

namespace scrawl {

/// A checkpoint is a safetensors file: weights under their published names, the bank, and, in checkpoints to
/// resume from, the optimiser.  The metadata hold the model's sizes and the classes' names and colours, so that
/// a checkpoint alone is enough to predict.  Writes beside the target and renames.  With `resumable`, moments
/// and step counts are in it too.
void save_checkpoint(const std::filesystem::path& path, const Pfa& model, const CheckpointInfo& info,
                     bool resumable);

/// A trained model: a checkpoint of this program, or whole SegFormers of others (see WeightFile).  The file
/// is read once: what it is about, then its tensors into a model of the same sizes.
class Checkpoint {
 public:
  /// InputError when the file holds no whole model.
  explicit Checkpoint(const std::filesystem::path& path);
  const CheckpointInfo& info() const { return info_; }
  /// Without it the plain prediction alone means anything.
  bool has_feature_augmentation() const { return weights_.has("feature_aug."); }
  bool has_bank() const;
  /// False when they could only be taken to be the usual ones: tensors do not show them.
  bool knows_heads_and_strides() const { return weights_.knows_heads_and_strides(); }

  /// InputError when the model has other sizes, saying which; the model is then unchanged.  Layer norms get
  /// the eps that the weights were learnt with.
  void load(Pfa& model) const;
  /// Moments and step counts; InputError when the checkpoint was not made to resume from.
  void load_optimizer(Pfa& model) const;

 private:
  /// Has errors of `load` begin with the file.
  template <typename Load>
  void with_place(Load load) const;

  WeightFile weights_;
  CheckpointInfo info_;
};

}  // namespace scrawl
