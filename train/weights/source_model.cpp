#include "train/weights/source_model.h"

#include <algorithm>

#include "engine/error.h"

namespace scrawl {
namespace {

/// One dimension of a tensor that every model has; `missing` when the file does not have it.
int dimension(const WeightFile& file, const std::string& name, size_t index, int missing) {
  const std::vector<std::string> names = file.find(name);
  if (names.empty()) return missing;
  const std::vector<int64_t>& shape = file.file().at(names[0]).shape;
  if (shape.size() <= index)
    throw InputError("{}: tensor '{}' has {} dimensions, expected at least {}", file.where(), names[0],
                     shape.size(), index + 1);
  return static_cast<int>(std::clamp<int64_t>(shape[index], 0, 1 << 30));
}

ModelConfig sizes_of(const WeightFile& file) {
  ModelConfig model;
  for (int stage = 0; stage < 4; ++stage) {
    const int number = stage + 1;
    const std::string block = fmt::format("encoder.block{}.", number);
    model.embed_dims[stage] = dimension(file, fmt::format("encoder.patch_embed{}.proj.bias", number), 0, 0);
    model.depths[stage] = 0;
    while (!file.find(fmt::format("{}{}.norm1.weight", block, model.depths[stage])).empty())
      ++model.depths[stage];
    model.reductions[stage] = dimension(file, block + "0.attn.sr.weight", 2, 1);
  }
  model.mlp_ratio = dimension(file, "encoder.block1.0.mlp.fc1.bias", 0, 0) / std::max(1, model.embed_dims[0]);
  model.width = dimension(file, "decoder.linear_fuse.conv.weight", 0, 0);
  model.classes = dimension(file, "decoder.linear_pred.bias", 0, 0);
  return model;
}

/// mmsegmentation's name for the decoder: such weights are of SegFormer itself, not of this method.
bool is_segformer(const WeightFile& file) {
  return file.prefix("decoder.").ends_with("decode_head.");
}

}  // namespace

NormEps norm_eps_of(const WeightFile& file) {
  if (file.info()) return {file.info()->model.block_norm_eps, file.info()->model.other_norm_eps};
  if (file.naming() == Naming::hugging_face) return {kHuggingFaceNormEps, kHuggingFaceNormEps};
  const ModelConfig published;
  return {published.block_norm_eps, published.other_norm_eps};
}

ModelConfig model_of(const WeightFile& file) {
  if (file.info()) return file.info()->model;
  if (!file.has("decoder."))
    throw InputError("{}: weights of an encoder alone, without the decoder of a trained model", file.where());
  ModelConfig model = sizes_of(file);
  if (is_segformer(file)) model.strides = kSegformerStrides;
  if (file.hugging_face()) {
    model.heads = file.hugging_face()->heads;
    model.strides = file.hugging_face()->strides;
  }
  const NormEps eps = norm_eps_of(file);
  model.block_norm_eps = eps.block;
  model.other_norm_eps = eps.other;
  try {
    check(model);
  } catch (const InputError& error) {
    throw InputError("{}: {}", file.where(), error.what());
  }
  return model;
}

}  // namespace scrawl
