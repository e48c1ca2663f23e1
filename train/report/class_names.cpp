#include "train/report/class_names.h"

#include <sstream>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

const std::vector<std::string> kVocNames{
    "background", "aeroplane", "bicycle",     "bird",  "boat",        "bottle", "bus",
    "car",        "cat",       "chair",       "cow",   "diningtable", "dog",    "horse",
    "motorbike",  "person",    "pottedplant", "sheep", "sofa",        "train",  "tvmonitor"};

}  // namespace

std::vector<std::string> read_class_names(const std::filesystem::path& root, int classes) {
  const std::filesystem::path path = root / "classes.txt";
  std::vector<std::string> names;
  if (std::filesystem::exists(path)) {
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) {
      line.erase(line.find_last_not_of(" \t\r") + 1);
      if (!line.empty()) names.push_back(line);
    }
    if (static_cast<int>(names.size()) != classes)
      throw InputError("{}: names {} classes, dataset.num_classes is {}", path.string(), names.size(),
                       classes);
    return names;
  }
  if (classes == static_cast<int>(kVocNames.size())) return kVocNames;
  names.push_back("background");
  for (int k = 1; k < classes; ++k) names.push_back(fmt::format("class {}", k));
  return names;
}

}  // namespace scrawl
