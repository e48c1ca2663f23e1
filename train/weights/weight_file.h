#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "train/checkpoint_info.h"
#include "train/weights/hugging_face.h"
#include "train/weights/naming.h"

namespace scrawl {

/// Weights in a file, whoever wrote it: a checkpoint of this program, a state dict of the published code or
/// of SegFormer's (bare, wrapped or below any prefix), or Hugging Face's SegFormer.  Tensors are looked up by
/// the names of this program.
class WeightFile {
 public:
  /// `path` may also be a Hugging Face folder.  InputError when there is no such model in the file.
  explicit WeightFile(const std::filesystem::path& path);

  /// The file, for messages.
  const std::string& where() const { return where_; }
  Naming naming() const { return naming_; }
  const TensorFile& file() const { return file_; }
  /// What a checkpoint of this program, or an export of one, says of itself.
  const std::optional<CheckpointInfo>& info() const { return info_; }
  /// What config.json beside Hugging Face's weights says.
  const std::optional<HuggingFaceConfig>& hugging_face() const { return hugging_face_; }

  /// Whether it is known which heads and strides the weights were learnt with: tensors alone do not show it.
  bool knows_heads_and_strides() const { return info_ || hugging_face_; }

  /// Whether the file has a part of the model: "encoder.", "decoder." or "feature_aug.".
  bool has(const std::string& part) const { return prefixes_.contains(part); }
  /// Where the file keeps a part: "state_dict.backbone.", say.
  const std::string& prefix(const std::string& part) const { return prefixes_.at(part); }
  /// The names under which the file holds our tensor `name`: one, or those whose rows follow each other.
  /// Empty when one of them is missing.
  std::vector<std::string> find(const std::string& name) const;
  /// InputError that names the tensor and both shapes when what the file has for a parameter does not fit it.
  void expect_fit(const Parameter& parameter) const;
  /// The values that a parameter takes from the file, which must have them.
  HostTensor tensor(const Parameter& parameter) const;

 private:
  bool locate_parts(Naming naming);

  std::string where_;
  TensorFile file_;
  Naming naming_ = Naming::published;
  std::map<std::string, std::string> prefixes_;  // by part
  std::optional<CheckpointInfo> info_;
  std::optional<HuggingFaceConfig> hugging_face_;
};

}  // namespace scrawl
