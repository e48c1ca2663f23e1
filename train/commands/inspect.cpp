#include <algorithm>
#include <cmath>

#include "data/npy.h"
#include "data/tags.h"
#include "engine/error.h"
#include "engine/files.h"
#include "engine/tensor_file.h"
#include "train/commands/commands.h"

namespace scrawl {
namespace {

template <typename T>
std::string range_of(const std::vector<T>& values) {
  if (values.empty()) return "empty";
  double low = INFINITY, high = -INFINITY, sum = 0.0;
  int64_t bad = 0;
  for (T value : values) {
    const auto v = static_cast<double>(value);
    if (!std::isfinite(v)) {
      ++bad;
      continue;
    }
    low = std::min(low, v);
    high = std::max(high, v);
    sum += v;
  }
  const auto finite = static_cast<int64_t>(values.size()) - bad;
  std::string text =
      finite > 0 ? fmt::format("{:.4g} … {:.4g}, mean {:.4g}", low, high, sum / static_cast<double>(finite))
                 : "no finite value";
  if (bad > 0) text += fmt::format(", {} not finite", bad);
  return text;
}

void inspect_tensors(const std::filesystem::path& path) {
  const TensorFile file = read_tensor_file(path);
  for (const auto& [key, value] : file.metadata) fmt::print("{}: {}\n", key, value);
  size_t width = 4;
  for (const auto& [name, tensor] : file.tensors) width = std::max(width, name.size());
  int64_t elements = 0;
  for (const auto& [name, tensor] : file.tensors) {
    elements += tensor.elements();
    fmt::print("{:{}}  {:>4}  {:<18}  {}\n", name, width, tensor.dtype,
               fmt::format("[{}]", fmt::join(tensor.shape, ", ")), range_of(tensor.floats()));
  }
  fmt::print("{} tensors, {} values\n", file.tensors.size(), elements);
}

void inspect_tags(const std::filesystem::path& path) {
  const Tags tags = read_tags(path);
  std::vector<std::string> ids;
  for (const auto& [id, values] : tags) ids.push_back(id);
  std::ranges::sort(ids);
  fmt::print("a dictionary of {} label vectors, image id -> one number a foreground class\n", ids.size());
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(kShown, ids.size()); ++i) {
    const std::vector<float>& values = tags.at(ids[i]);
    std::vector<size_t> present;
    for (size_t k = 0; k < values.size(); ++k)
      if (values[k] > 0.5f) present.push_back(k + 1);
    fmt::print("{}  {} classes, present: {}\n", ids[i], values.size(), fmt::join(present, " "));
  }
  if (ids.size() > kShown) fmt::print("… and {} more\n", ids.size() - kShown);
}

void inspect_npy(const std::filesystem::path& path) {
  if (holds_objects(path)) return inspect_tags(path);
  const Npy array = read_npy(path);
  fmt::print("{}  [{}]  {}\n", array.dtype, fmt::join(array.shape, ", "), range_of(array.values));
}

}  // namespace

int inspect_command(const InspectOptions& options) {
  if (is_npy(read_beginning(options.file, 16)))
    inspect_npy(options.file);
  else
    inspect_tensors(options.file);
  return 0;
}

}  // namespace scrawl
