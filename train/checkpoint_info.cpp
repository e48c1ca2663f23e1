#include "train/checkpoint_info.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/error.h"

namespace scrawl {

using Json = nlohmann::json;

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ModelConfig, embed_dims, depths, heads, reductions, strides, mlp_ratio,
                                   width, classes, slots, bank_rate, drop_path, dropout, block_norm_eps,
                                   other_norm_eps)
NLOHMANN_JSON_SERIALIZE_ENUM(Phase, {{Phase::without, "without"},
                                     {Phase::local, "local"},
                                     {Phase::global, "global"}})
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainingState, next_epoch, step, seconds, phases, best)

void to_json(Json& json, const CheckpointInfo& info) {
  const std::vector<std::string>& names = info.classes.names;
  const auto colours = info.classes.palette.begin();
  json = {{"model", info.model},
          {"class_names", names},
          {"class_colours", std::vector(colours, colours + std::ssize(names))},
          {"state", info.state}};
}

void from_json(const Json& json, CheckpointInfo& info) {
  json.at("model").get_to(info.model);
  json.at("state").get_to(info.state);
  json.at("class_names").get_to(info.classes.names);
  std::vector<Palette::value_type> colours;
  if (json.contains("class_colours")) json["class_colours"].get_to(colours);  // older checkpoints have VOC's
  if (colours.size() > info.classes.palette.size()) throw InputError("{} colours of classes", colours.size());
  std::ranges::copy(colours, info.classes.palette.begin());
}

namespace {

constexpr const char* kKey = "checkpoint";
constexpr size_t kLongest = 64 << 10;  // three times what 255 long names of classes take

}  // namespace

void write_info(TensorFile& file, const CheckpointInfo& info) {
  file.metadata[kKey] = Json(info).dump();
}

std::optional<CheckpointInfo> read_info(const TensorFile& file, const std::string& where) {
  const auto text = file.metadata.find(kKey);
  if (text == file.metadata.end()) return std::nullopt;
  if (text->second.size() > kLongest)
    throw InputError("{}: damaged metadata: {} characters, at most {} are expected", where,
                     text->second.size(), kLongest);
  try {
    auto info = Json::parse(text->second).get<CheckpointInfo>();
    check(info.model);
    return info;
  } catch (const InputError& error) {
    throw InputError("{}: damaged metadata: {}", where, error.what());
  } catch (const Json::exception& error) {
    throw InputError("{}: damaged metadata: {}", where, error.what());
  }
}

std::string difference(const ModelConfig& file, const ModelConfig& model,
                       const std::vector<const char*>& keys) {
  const Json a = file, b = model;
  for (const char* key : keys)
    if (a.at(key) != b.at(key))
      return fmt::format("{} {}, this model has {}", key, a.at(key).dump(), b.at(key).dump());
  return "";
}

}  // namespace scrawl
