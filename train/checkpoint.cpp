#include "train/checkpoint.h"

#include "engine/error.h"
#include "engine/safetensors.h"
#include "train/weights/load.h"
#include "train/weights/source_model.h"

namespace scrawl {

void save_checkpoint(const std::filesystem::path& path, const Pfa& model, const CheckpointInfo& info,
                     bool resumable) {
  TensorFile file;
  model.parameters().save(file);
  model.bank().save(file);
  if (resumable) model.parameters().save_optimizer(file);
  file.metadata["format"] = kCheckpointFormat;
  write_info(file, info);
  write_safetensors(path, file);
}

Checkpoint::Checkpoint(const std::filesystem::path& path) : weights_(path) {
  if (weights_.info()) {
    info_ = *weights_.info();
  } else {
    info_.model = model_of(weights_);
    if (weights_.hugging_face()) info_.classes.names = weights_.hugging_face()->class_names;
  }
}

bool Checkpoint::has_bank() const {
  return weights_.file().contains("prototype_bank.values");
}

void Checkpoint::load(Pfa& model) const {
  std::vector<const char*> keys{"embed_dims", "depths", "reductions", "mlp_ratio", "width", "classes"};
  if (weights_.knows_heads_and_strides()) keys.insert(keys.end(), {"heads", "strides"});
  if (has_bank()) keys.push_back("slots");
  if (const std::string what = difference(info_.model, model.config(), keys); !what.empty())
    throw InputError("{}: checkpoint of another model: it has {}", weights_.where(), what);

  std::vector<std::string> parts{"encoder.", "decoder."};
  if (has_feature_augmentation()) parts.emplace_back("feature_aug.");
  const WeightMatch match = match_parts(model, weights_, parts);
  if (!match.missing.empty())
    throw InputError("{}: tensor '{}' is missing", weights_.where(), match.missing[0]);
  load_matched(model, weights_, match);
  if (has_bank()) with_place([&] { model.bank().load(weights_.file()); });
}

void Checkpoint::load_optimizer(Pfa& model) const {
  if (!weights_.file().contains("optimizer.steps"))
    throw InputError("{}: holds no optimiser state: expected the last.safetensors of a run",
                     weights_.where());
  with_place([&] { model.parameters().load_optimizer(weights_.file()); });
}

template <typename Load>
void Checkpoint::with_place(Load load) const {
  try {
    load();
  } catch (const InputError& error) {
    throw InputError("{}: {}", weights_.where(), error.what());
  }
}

}  // namespace scrawl
