#include "train/checkpoint_info.h"

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
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CheckpointInfo, model, class_names, state)

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
