#include "train/weights/weight_file.h"

#include <algorithm>

#include "engine/error.h"

namespace scrawl {
namespace {

/// The shortest prefix below which the file has the tensor: averages and teachers are kept beside a model
/// under longer ones.
std::optional<std::string> prefix_of(const TensorFile& file, std::string_view marker) {
  std::optional<std::string> best;
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.ends_with(marker)) continue;
    const std::string prefix = name.substr(0, name.size() - marker.size());
    const bool whole_word = prefix.empty() || prefix.ends_with('.');
    if (whole_word && (!best || prefix.size() < best->size())) best = prefix;
  }
  return best;
}

std::string text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// The weights in a Hugging Face folder.
std::filesystem::path weights_in(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  for (const char* name : {"model.safetensors", "pytorch_model.bin"})
    if (std::filesystem::exists(path / name)) return path / name;
  throw InputError("{}: a folder without model.safetensors and pytorch_model.bin, which Hugging Face's have",
                   path.string());
}

}  // namespace

WeightFile::WeightFile(const std::filesystem::path& path) {
  const std::filesystem::path weights = weights_in(path);
  where_ = weights.string();
  file_ = read_tensor_file(weights);
  info_ = read_info(file_, where_);
  if (!locate_parts(Naming::published) && !locate_parts(Naming::hugging_face))
    throw InputError(
        "{}: no weights of a SegFormer: neither '{}' (published) nor '{}' (Hugging Face) is among its {} "
        "tensors{}",
        where_, parts_of(Naming::published)[0].marker, parts_of(Naming::hugging_face)[0].marker,
        file_.tensors.size(),
        file_.tensors.empty() ? "" : fmt::format(", which begin with '{}'", file_.tensors.begin()->first));
  if (naming_ == Naming::hugging_face) hugging_face_ = read_hugging_face_config(weights.parent_path());
}

bool WeightFile::locate_parts(Naming naming) {
  naming_ = naming;
  for (const PartName& part : parts_of(naming))
    if (const auto prefix = prefix_of(file_, part.marker)) prefixes_[std::string(part.part)] = *prefix;
  if (!has("encoder.")) prefixes_.clear();
  return has("encoder.");
}

std::vector<std::string> WeightFile::find(const std::string& name) const {
  for (const PartName& part : parts_of(naming_)) {
    const auto prefix = prefixes_.find(std::string(part.part));
    if (!name.starts_with(part.part) || prefix == prefixes_.end()) continue;
    std::vector<std::string> names = names_in(naming_, name);
    for (std::string& their : names) {
      their.replace(0, part.prefix.size(), prefix->second);
      if (!file_.contains(their)) return {};
    }
    return names;
  }
  return {};
}

void WeightFile::expect_fit(const Parameter& parameter) const {
  const std::vector<std::string> names = find(parameter.name);
  std::vector<int64_t> expected = parameter.file_shape;
  if (!names.empty()) expected[0] /= static_cast<int64_t>(names.size());
  for (const std::string& name : names)
    if (file_.at(name).shape != expected)
      throw InputError("{}: tensor '{}' has shape {}, this model expects {}", where_, name,
                       text(file_.at(name).shape), text(expected));
}

HostTensor WeightFile::tensor(const Parameter& parameter) const {
  const std::vector<std::string> names = find(parameter.name);
  require(!names.empty(), "{}: no tensor for '{}'", where_, parameter.name);
  if (names.size() == 1) return file_.at(names[0]);
  std::vector<float> values;
  for (const std::string& name : names) {
    const std::vector<float> rows = file_.at(name).floats();
    values.insert(values.end(), rows.begin(), rows.end());
  }
  return HostTensor::of(parameter.file_shape, values);
}

}  // namespace scrawl
