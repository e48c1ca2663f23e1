#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/safetensors.h"
#include "model/pfa.h"

namespace scrawl {

/// Where training stands between two epochs.
struct TrainingState {
  int next_epoch = 0;
  int64_t step = 0;
  double seconds = 0.0;                // of training so far
  std::vector<Phase> phases;           // that it has been through
  std::map<std::string, double> best;  // mIoU by prediction
  friend bool operator==(const TrainingState&, const TrainingState&) = default;
};

/// A checkpoint is a safetensors file: weights under their published names, the bank, and, in checkpoints to
/// resume from, the optimiser.  The metadata hold the model's sizes, so that a checkpoint alone is enough to
/// predict.
struct CheckpointInfo {
  ModelConfig model;
  std::vector<std::string> class_names;
  TrainingState state;
};

/// Writes beside the target and renames.  With `resumable`, moments and step counts are in it too.
void save_checkpoint(const std::filesystem::path& path, const Pfa& model, const CheckpointInfo& info,
                     bool resumable);

/// A file read once: what it is about, then its tensors into a model of the same sizes.
class Checkpoint {
 public:
  /// InputError when the file is no checkpoint of this program.
  explicit Checkpoint(const std::filesystem::path& path);
  const CheckpointInfo& info() const { return info_; }

  /// InputError when the model has other sizes, saying which; the model is then unchanged.
  void load(Pfa& model) const;
  /// Moments and step counts; InputError when the checkpoint was not made to resume from.
  void load_optimizer(Pfa& model) const;

 private:
  std::string name_;
  TensorFile file_;
  CheckpointInfo info_;
};

/// The weights to start from: `path`, or the safetensors file beside it when `path` is a PyTorch checkpoint.
/// InputError that says what to do when neither can be read.
std::filesystem::path find_pretrained(const std::filesystem::path& path);

/// Loads an encoder from a safetensors file with the published names ("patch_embed1.proj.weight" …, alone or
/// below "encoder.").  PyTorch's own files are not read yet.  Returns the number of tensors loaded.
int load_pretrained_encoder(Pfa& model, const std::filesystem::path& path);

}  // namespace scrawl
