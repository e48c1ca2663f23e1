#include "train/checkpoint.h"

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

constexpr const char* kFormat = "scrawl checkpoint 1";

/// Names the first size in which two models differ.  Rates of dropout and of the bank may change between
/// runs.
std::string difference(const ModelConfig& file, const ModelConfig& model) {
  const Json a = file, b = model;
  for (const char* key : {"embed_dims", "depths", "heads", "reductions", "strides", "mlp_ratio", "width",
                          "classes", "slots", "block_norm_eps", "other_norm_eps"})
    if (a.at(key) != b.at(key))
      return fmt::format("{} {}, this model has {}", key, a.at(key).dump(), b.at(key).dump());
  return "";
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Pfa& model, const CheckpointInfo& info,
                     bool resumable) {
  TensorFile file;
  model.parameters().save(file);
  model.bank().save(file);
  if (resumable) model.parameters().save_optimizer(file);
  file.metadata = {{"format", kFormat}, {"checkpoint", Json(info).dump()}};
  write_safetensors(path, file);
}

Checkpoint::Checkpoint(const std::filesystem::path& path)
    : name_(path.string()), file_(read_safetensors(path)) {
  const auto format = file_.metadata.find("format");
  const auto info = file_.metadata.find("checkpoint");
  if (format == file_.metadata.end() || format->second != kFormat || info == file_.metadata.end())
    throw InputError("{}: not a checkpoint of this program (no '{}' in its metadata)", name_, kFormat);
  try {
    info_ = Json::parse(info->second).get<CheckpointInfo>();
    check(info_.model);
  } catch (const InputError& error) {
    throw InputError("{}: damaged metadata: {}", name_, error.what());
  } catch (const Json::exception& error) {
    throw InputError("{}: damaged metadata: {}", name_, error.what());
  }
}

void Checkpoint::load(Pfa& model) const {
  if (const std::string what = difference(info_.model, model.config()); !what.empty())
    throw InputError("{}: checkpoint of another model: it has {}", name_, what);
  try {
    model.parameters().load(file_);
    model.bank().load(file_);
  } catch (const InputError& error) {
    throw InputError("{}: {}", name_, error.what());
  }
}

void Checkpoint::load_optimizer(Pfa& model) const {
  if (!file_.contains("optimizer.steps"))
    throw InputError("{}: holds no optimiser state: expected the last.safetensors of a run", name_);
  try {
    model.parameters().load_optimizer(file_);
  } catch (const InputError& error) {
    throw InputError("{}: {}", name_, error.what());
  }
}

std::filesystem::path find_pretrained(const std::filesystem::path& path) {
  std::filesystem::path beside = path;
  beside.replace_extension(".safetensors");
  if (std::filesystem::exists(beside)) return beside;
  if (std::filesystem::exists(path))
    throw InputError(
        "{}: PyTorch checkpoints cannot be read yet; save it as {} (safetensors, same names), or set "
        "model.pretrained=false to start from random weights",
        path.string(), beside.string());
  throw InputError(
      "{}: no such file; put the encoder's pretrained weights there as safetensors, or set "
      "model.pretrained=false to start from random weights",
      beside.string());
}

int load_pretrained_encoder(Pfa& model, const std::filesystem::path& path) {
  const TensorFile file = read_safetensors(path);
  const std::string wanted = "encoder.";
  std::vector<std::pair<Parameter*, const HostTensor*>> found;
  for (const Parameter& parameter : model.parameters().all()) {
    if (!parameter.name.starts_with(wanted)) continue;
    const std::string bare = parameter.name.substr(wanted.size());
    const std::string& name = file.contains(parameter.name) ? parameter.name : bare;
    if (!file.contains(name)) throw InputError("{}: tensor '{}' is missing", path.string(), bare);
    found.emplace_back(&model.parameters().find(parameter.name), &file.at(name));
  }
  try {
    for (auto& [parameter, tensor] : found) model.parameters().from_file(*parameter, *tensor);
  } catch (const InputError& error) {
    throw InputError("{}: {}", path.string(), error.what());
  }
  return static_cast<int>(found.size());
}

}  // namespace scrawl
