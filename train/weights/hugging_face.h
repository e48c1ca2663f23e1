#pragma once
// The JSON files beside Hugging Face's weights.
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"

namespace scrawl {

/// Hugging Face's SegFormer has this eps in every layer norm, whatever its config.json says.
inline constexpr float kHuggingFaceNormEps = 1e-5f;

/// SegFormer's own strides; this method ends on 1.
inline constexpr std::array<int, 4> kSegformerStrides{4, 2, 2, 2};

/// What config.json knows and tensors do not show.
struct HuggingFaceConfig {
  std::array<int, 4> heads, strides;
  std::vector<std::string> class_names;
};

/// Nothing when there is no config.json in the folder; InputError when it is of another kind of model, or
/// damaged.
std::optional<HuggingFaceConfig> read_hugging_face_config(const std::filesystem::path& folder);

/// The same from the text of a config.json; `name` begins the error messages.
HuggingFaceConfig parse_hugging_face_config(const std::string& text, const std::string& name);

/// config.json, from which transformers makes a SegformerForSemanticSegmentation of these sizes.
std::string hugging_face_config(const ModelConfig& model, const std::vector<std::string>& class_names);

/// preprocessor_config.json: photos in their own size, normalised as in training.
std::string hugging_face_preprocessor();

}  // namespace scrawl
