#include "train/weights/load.h"

#include <algorithm>
#include <set>

#include "engine/error.h"
#include "train/report/log.h"
#include "train/weights/source_model.h"

namespace scrawl {
namespace {

/// "3: a, b, c", or "12: a, b, c …".
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  if (names.empty()) return "none";
  const size_t shown = std::min(kShown, names.size());
  return fmt::format("{}: {}{}", names.size(), fmt::join(names.begin(), names.begin() + shown, ", "),
                     names.size() > shown ? " …" : "");
}

std::string source_name(const WeightFile& file) {
  if (file.info()) return "a checkpoint of this program";
  const std::string names = file.naming() == Naming::published ? "published names" : "Hugging Face's names";
  const std::string& prefix = file.prefix("encoder.");
  return prefix.empty() ? names : fmt::format("{} below '{}'", names, prefix);
}

/// Whether the file's encoder has more blocks than the model.
bool is_deeper(const WeightFile& file, const ModelConfig& model) {
  for (int stage = 0; stage < 4; ++stage)
    if (!file.find(fmt::format("encoder.block{}.{}.norm1.weight", stage + 1, model.depths[stage])).empty())
      return true;
  return false;
}

}  // namespace

WeightMatch match_parts(const Pfa& model, const WeightFile& file, const std::vector<std::string>& parts) {
  WeightMatch match;
  std::set<std::string> used;
  for (const Parameter& parameter : model.parameters().all()) {
    const auto holds = [&](const std::string& part) { return parameter.name.starts_with(part); };
    if (std::ranges::none_of(parts, holds)) continue;
    const std::vector<std::string> names = file.find(parameter.name);
    (names.empty() ? match.missing : match.found).push_back(parameter.name);
    file.expect_fit(parameter);
    used.insert(names.begin(), names.end());
  }
  for (const auto& [name, tensor] : file.file().tensors)
    if (!used.contains(name)) match.skipped.push_back(name);
  return match;
}

void load_matched(Pfa& model, const WeightFile& file, const WeightMatch& match) {
  for (const std::string& name : match.found) {
    Parameter& parameter = model.parameters().find(name);
    model.parameters().from_file(parameter, file.tensor(parameter));
  }
  const NormEps eps = norm_eps_of(file);
  model.set_norm_eps(eps.block, eps.other);
}

void load_pretrained_encoder(Pfa& model, const std::filesystem::path& path) {
  const WeightFile file(path);
  const WeightMatch match = match_parts(model, file, {"encoder."});
  load_matched(model, file, match);
  log("encoder from {} ({}): {} tensors loaded; layer-norm eps {} in blocks, {} elsewhere", file.where(),
      source_name(file), match.found.size(), model.config().block_norm_eps, model.config().other_norm_eps);
  log("  skipped {}", listed(match.skipped));
  log("  missing {}", listed(match.missing));
  if (!match.missing.empty() || is_deeper(file, model.config()))
    log("warning: these weights are of an encoder with other blocks than model.backbone has{}",
        match.missing.empty() ? "" : "; what is missing starts from random values");
}

std::filesystem::path find_pretrained(const std::filesystem::path& path, const std::string& backbone) {
  namespace fs = std::filesystem;
  const auto is_hugging_face = [](const fs::path& place) { return fs::exists(place / "config.json"); };
  if (fs::is_regular_file(path) || is_hugging_face(path)) return path;
  const fs::path named = path / backbone;
  for (const char* extension : {".pth", ".safetensors"})
    if (fs::is_regular_file(named.string() + extension)) return named.string() + extension;
  if (is_hugging_face(named)) return named;
  throw InputError(
      "{}: no such file; put the encoder's pretrained weights there (as published, as safetensors or as a "
      "Hugging Face folder), or set model.pretrained=false to start from random weights",
      path.has_extension() ? path.string() : named.string() + ".pth");
}

}  // namespace scrawl
