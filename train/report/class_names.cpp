#include "train/report/class_names.h"

#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

const std::vector<std::string> kVocNames{
    "background", "aeroplane", "bicycle",     "bird",  "boat",        "bottle", "bus",
    "car",        "cat",       "chair",       "cow",   "diningtable", "dog",    "horse",
    "motorbike",  "person",    "pottedplant", "sheep", "sofa",        "train",  "tvmonitor"};

bool is_utf8(const std::string& text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

/// Scores are written under the names, as JSON: each must be a text, and another one.
void check(const std::vector<std::string>& names, int classes, const std::string& file) {
  if (static_cast<int>(names.size()) != classes)
    throw InputError("{}: names {} classes, dataset.num_classes is {}", file, names.size(), classes);
  std::set<std::string> seen;
  for (size_t k = 0; k < names.size(); ++k) {
    if (!is_utf8(names[k])) throw InputError("{}: the name of class {} is not UTF-8 text", file, k);
    if (!seen.insert(names[k]).second) throw InputError("{}: '{}' names two classes", file, names[k]);
  }
}

}  // namespace

std::vector<std::string> read_class_names(const std::filesystem::path& root, int classes) {
  const std::filesystem::path path = root / "classes.txt";
  if (std::filesystem::exists(path)) {
    const std::vector<std::string> names = read_lines(path);
    check(names, classes, path.string());
    return names;
  }
  return default_class_names(classes);
}

std::vector<std::string> default_class_names(int classes) {
  if (classes == static_cast<int>(kVocNames.size())) return kVocNames;
  std::vector<std::string> names{"background"};
  for (int k = 1; k < classes; ++k) names.push_back(fmt::format("class {}", k));
  return names;
}

}  // namespace scrawl
