#include "data/annotations/collect_tags.h"

#include <mutex>

#include "data/annotations/xml_file.h"
#include "data/label_map.h"
#include "data/sample_files.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

/// Calls see(file, mark) for every file, which calls mark(index) for every class that is there.
template <typename See>
Tags collect(const fs::path& folder, const std::string& extension, const ClassList& classes,
             const ProgressCallback& progress, See see) {
  const std::vector<fs::path> files = list_files(folder, extension);
  Tags tags;
  std::mutex inserting;
  for_each_index(
      static_cast<int>(files.size()),
      [&](int i) {
        std::vector<float> vector(classes.size() - 1);
        see(files[i], [&](int index) {
          if (index > 0) vector[index - 1] = 1.0f;  // the background is not among them
        });
        const std::lock_guard lock(inserting);
        tags.emplace(files[i].stem().string(), std::move(vector));
      },
      progress);
  return tags;
}

}  // namespace

Tags tags_of_label_maps(const fs::path& folder, const ClassList& classes, int ignore_label,
                        const ProgressCallback& progress) {
  return collect(folder, ".png", classes, progress, [&](const fs::path& file, const auto& mark) {
    for (const uint8_t label : read_label_map(file, classes.size(), ignore_label).labels) {
      if (label != kUnlabelled) mark(label);
    }
  });
}

Tags tags_of_voc_objects(const fs::path& folder, const ClassList& classes, const ProgressCallback& progress) {
  return collect(folder, ".xml", classes, progress, [&](const fs::path& file, const auto& mark) {
    for (const int index : parse_voc_objects(read_file(file), classes, file.string())) mark(index);
  });
}

std::set<int> parse_voc_objects(std::string bytes, const ClassList& classes, const std::string& name) {
  const XmlFile xml(std::move(bytes), name);
  std::set<int> shown;
  for (const pugi::xml_node& object : xml.root("annotation").children("object")) {
    const std::string_view called = object.child("name").text().get();
    const std::optional<int> index = classes.find(called);
    if (!index)
      throw InputError("{}: '{}' is none of the {} classes", name, called.substr(0, 80), classes.size());
    shown.insert(*index);
  }
  return shown;
}

}  // namespace scrawl
