#include "train/weights/naming.h"

#include <fmt/format.h>

namespace scrawl {
namespace {

constexpr PartName kPublished[] = {{"encoder.", "encoder.", "patch_embed1.proj.weight"},
                                   {"decoder.", "decoder.", "linear_fuse.conv.weight"},
                                   {"feature_aug.", "feature_aug.", "feature_fc.weight"}};
constexpr PartName kHuggingFace[] = {{"encoder.", "segformer.encoder.", "patch_embeddings.0.proj.weight"},
                                     {"decoder.", "decode_head.", "linear_fuse.weight"}};

/// A module here and there.  One that stands here twice is made of two there, whose rows follow each other.
struct Module {
  std::string_view ours, theirs;
};
/// With the number of the stage, from 1 here and from 0 there, taken out of the first word.
constexpr Module kStageModules[] = {{"patch_embed.proj", "patch_embeddings.#.proj"},
                                    {"patch_embed.norm", "patch_embeddings.#.layer_norm"},
                                    {"norm", "layer_norm.#"}};
/// Below the number of the block.
constexpr Module kBlockModules[] = {{"norm1", "layer_norm_1"},
                                    {"norm2", "layer_norm_2"},
                                    {"attn.q", "attention.self.query"},
                                    {"attn.kv", "attention.self.key"},
                                    {"attn.kv", "attention.self.value"},
                                    {"attn.proj", "attention.output.dense"},
                                    {"attn.sr", "attention.self.sr"},
                                    {"attn.norm", "attention.self.layer_norm"},
                                    {"mlp.fc1", "mlp.dense1"},
                                    {"mlp.fc2", "mlp.dense2"},
                                    {"mlp.dwconv.dwconv", "mlp.dwconv.dwconv"}};
constexpr Module kDecoderModules[] = {
    {"linear_c1.proj", "linear_c.0.proj"}, {"linear_c2.proj", "linear_c.1.proj"},
    {"linear_c3.proj", "linear_c.2.proj"}, {"linear_c4.proj", "linear_c.3.proj"},
    {"linear_fuse.conv", "linear_fuse"},   {"linear_fuse.bn", "batch_norm"},
    {"linear_pred", "classifier"}};

/// Cuts the text off up to the first dot, and returns it.
std::string cut_word(std::string& text) {
  const size_t dot = text.find('.');
  const std::string word = text.substr(0, dot);
  text.erase(0, dot == std::string::npos ? dot : dot + 1);
  return word;
}

std::vector<std::string> translate(std::span<const Module> modules, const std::string& module) {
  std::vector<std::string> names;
  for (const Module& known : modules)
    if (known.ours == module) names.emplace_back(known.theirs);
  return names;
}

std::vector<std::string> encoder_modules(std::string module) {
  std::string word = cut_word(module);  // patch_embed1, block1 or norm1
  const int stage = word.back() - '1';
  word.pop_back();
  if (word == "block") {
    const std::string index = cut_word(module);
    std::vector<std::string> names = translate(kBlockModules, module);
    for (std::string& name : names) name = fmt::format("block.{}.{}.{}", stage, index, name);
    return names;
  }
  std::vector<std::string> names = translate(kStageModules, module.empty() ? word : word + "." + module);
  for (std::string& name : names) name.replace(name.find('#'), 1, std::to_string(stage));
  return names;
}

}  // namespace

std::span<const PartName> parts_of(Naming naming) {
  if (naming == Naming::published) return kPublished;
  return kHuggingFace;
}

std::vector<std::string> names_in(Naming naming, const std::string& name) {
  if (naming == Naming::published) return {name};
  std::string module = name.substr(0, name.rfind('.'));
  const std::string leaf = name.substr(module.size());  // ".weight"
  const std::string part = cut_word(module) + ".";
  std::vector<std::string> names;
  if (part == "encoder.") names = encoder_modules(module);
  if (part == "decoder.") names = translate(kDecoderModules, module);
  for (const PartName& known : kHuggingFace)
    if (known.part == part)
      for (std::string& their : names) their = std::string(known.prefix) + their + leaf;
  return names;
}

}  // namespace scrawl
