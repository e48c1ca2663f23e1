#include "train/checkpoint_info.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "train/small_json.h"

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
  std::vector<std::array<int, 3>> colours;
  if (json.contains("class_colours")) json["class_colours"].get_to(colours);  // older checkpoints have VOC's
  if (colours.size() > info.classes.palette.size()) throw InputError("{} colours of classes", colours.size());
  for (size_t k = 0; k < colours.size(); ++k)
    for (size_t i = 0; i < colours[k].size(); ++i) {
      if (colours[k][i] < 0 || colours[k][i] > 255) throw InputError("{} in a colour", colours[k][i]);
      info.classes.palette[k][i] = static_cast<uint8_t>(colours[k][i]);
    }
}

namespace {

constexpr const char* kKey = "checkpoint";

}  // namespace

void write_info(TensorFile& file, const CheckpointInfo& info) {
  file.metadata[kKey] = Json(info).dump();
}

std::optional<CheckpointInfo> read_info(const TensorFile& file, const std::string& where) {
  const auto text = file.metadata.find(kKey);
  if (text == file.metadata.end()) return std::nullopt;
  try {
    auto info = parse_small_json<Json>(text->second).get<CheckpointInfo>();
    check(info.model);
    if (info.state.next_epoch < 0 || info.state.step < 0)
      throw InputError("{} epochs, {} steps", info.state.next_epoch, info.state.step);
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
