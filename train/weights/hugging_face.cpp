#include "train/weights/hugging_face.h"

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/files.h"
#include "kernels/augmentation.h"
#include "train/small_json.h"

namespace scrawl {

using Json = nlohmann::ordered_json;

namespace {

/// A setting as it was written: 0.1, and not the double next to the float next to it.
double decimal(float value) {
  return std::stod(fmt::format("{}", value));
}

/// id2label, a dictionary from "0", "1" …
std::vector<std::string> class_names_of(const Json& config) {
  std::vector<std::string> names;
  if (!config.contains("id2label")) return names;
  const Json& labels = config.at("id2label");
  for (size_t i = 0; i < labels.size(); ++i) names.push_back(labels.at(std::to_string(i)).get<std::string>());
  return names;
}

}  // namespace

std::optional<HuggingFaceConfig> read_hugging_face_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  return parse_hugging_face_config(read_file(path), path.string());
}

HuggingFaceConfig parse_hugging_face_config(const std::string& text, const std::string& name) {
  try {
    const Json json = parse_small_json<Json>(text);
    if (json.at("model_type") != "segformer")
      throw InputError("model_type is {}, expected \"segformer\"", json.at("model_type").dump());
    if (json.value("hidden_act", "gelu") != "gelu")
      throw InputError("hidden_act is {}, expected \"gelu\"", json.at("hidden_act").dump());
    // Left out, they have their defaults, which are SegFormer's.
    return {json.value("num_attention_heads", ModelConfig{}.heads), json.value("strides", kSegformerStrides),
            class_names_of(json)};
  } catch (const InputError& error) {
    throw InputError("{}: {}", name, error.what());
  } catch (const Json::exception& error) {
    throw InputError("{}: {}", name, error.what());
  }
}

std::string hugging_face_config(const ModelConfig& model, const std::vector<std::string>& class_names) {
  Json labels = Json::object(), ids = Json::object();
  for (size_t i = 0; i < class_names.size(); ++i) {
    labels[std::to_string(i)] = class_names[i];
    ids[class_names[i]] = i;
  }
  const Json config{
      {"architectures", {"SegformerForSemanticSegmentation"}},
      {"model_type", "segformer"},
      {"num_channels", 3},
      {"num_encoder_blocks", 4},
      {"depths", model.depths},
      {"sr_ratios", model.reductions},
      {"hidden_sizes", model.embed_dims},
      {"patch_sizes", {7, 3, 3, 3}},
      {"strides", model.strides},
      {"num_attention_heads", model.heads},
      {"mlp_ratios", std::vector<int>(4, model.mlp_ratio)},
      {"hidden_act", "gelu"},
      {"hidden_dropout_prob", 0.0},
      {"attention_probs_dropout_prob", 0.0},
      {"classifier_dropout_prob", decimal(model.dropout)},
      {"drop_path_rate", decimal(model.drop_path)},
      {"initializer_range", 0.02},
      {"layer_norm_eps", decimal(kHuggingFaceNormEps)},
      {"decoder_hidden_size", model.width},
      {"semantic_loss_ignore_index", 255},
      {"reshape_last_stage", true},
      {"id2label", labels},
      {"label2id", ids},
  };
  return config.dump(2) + "\n";
}

std::string hugging_face_preprocessor() {
  std::array<double, 3> mean, std;
  for (int i = 0; i < 3; ++i) {
    mean[i] = decimal(pixel_mean(i)) / 255;
    std[i] = decimal(pixel_deviation(i)) / 255;
  }
  const Json config{{"image_processor_type", "SegformerImageProcessor"},
                    {"do_resize", false},
                    {"do_rescale", true},
                    {"rescale_factor", 1 / 255.0},
                    {"do_normalize", true},
                    {"image_mean", mean},
                    {"image_std", std},
                    {"do_reduce_labels", false}};
  return config.dump(2) + "\n";
}

}  // namespace scrawl
