#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/class_list.h"
#include "engine/tensor_file.h"
#include "model/config.h"
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

/// What a checkpoint calls its format, beside its info in the metadata.
inline constexpr const char* kCheckpointFormat = "scrawl checkpoint 1";

/// What a checkpoint says of itself, in the metadata of its file.
struct CheckpointInfo {
  ModelConfig model;
  ClassList classes;
  TrainingState state;
};

/// Puts what is known of a model into a file's metadata, and finds it there; nothing when the file says
/// nothing.  InputError, starting with `where`, when it is damaged.
void write_info(TensorFile& file, const CheckpointInfo& info);
std::optional<CheckpointInfo> read_info(const TensorFile& file, const std::string& where);

/// Names the first of `keys` in which two models differ; empty when none does.
std::string difference(const ModelConfig& file, const ModelConfig& model,
                       const std::vector<const char*>& keys);

}  // namespace scrawl
