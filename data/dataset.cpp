#include "data/dataset.h"

#include <array>

#include "data/tags.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

void check_directory(const fs::path& path, std::string_view what) {
  std::error_code error;
  if (!fs::is_directory(path, error)) throw InputError("{}: no such directory ({})", path.string(), what);
}

/// One id a line.
std::vector<std::string> read_list(const fs::path& path) {
  std::vector<std::string> ids = read_lines(path);
  if (ids.empty()) throw InputError("{}: the list is empty, expected one image id a line", path.string());
  return ids;
}

/// The image of an id, or an empty path.
fs::path find_image(const fs::path& directory, const std::string& id) {
  std::error_code error;
  for (const char* extension : {".jpg", ".jpeg", ".png"}) {
    fs::path path = directory / (id + extension);
    if (fs::exists(path, error)) return path;
  }
  return {};
}

std::vector<uint8_t> present_in(const LabelMap& map, int classes) {
  std::array<uint8_t, 256> seen{};
  for (const uint8_t label : map.labels) seen[label] = 1;
  seen[0] = 1;
  return {seen.begin(), seen.begin() + classes};
}

std::vector<uint8_t> present_in(const std::vector<float>& tags) {
  std::vector<uint8_t> present{1};  // dictionaries leave out the background, which is always there
  for (const float tag : tags) present.push_back(tag > 0.5f);
  return present;
}

/// What is missing, said once: the first of them, and how many there are.
struct Missing {
  std::string first;
  int count = 0;

  void add(std::string what) {
    if (count++ == 0) first = std::move(what);
  }
  void report(const fs::path& list, size_t ids) const {
    if (count == 0) return;
    throw InputError(
        "{}{}", first,
        count == 1 ? "" : fmt::format(" (and {} more of the {} ids in {})", count - 1, ids, list.string()));
  }
};

}  // namespace

Dataset::Dataset(DatasetConfig config) : config_(std::move(config)) {
  if (config_.classes < 1 || config_.classes > 255) {
    throw InputError("{} classes: expected 1 to 255, background included", config_.classes);
  }
  check_directory(config_.root, "the data set's root");
  const fs::path images = config_.root / config_.image_dir, labels = config_.root / config_.label_dir;
  check_directory(images, "images");
  check_directory(labels, "labels");
  const fs::path list = config_.root / config_.list;
  ids_ = read_list(list);
  find_files(list, images, labels);
  const fs::path tags = config_.root / "cls_labels.npy";
  std::error_code error;
  tags_from_file_ = fs::exists(tags, error);
  if (tags_from_file_) load_tags(list, tags);
}

void Dataset::find_files(const fs::path& list, const fs::path& images, const fs::path& labels) {
  Missing missing;
  std::error_code error;
  for (const std::string& id : ids_) {
    images_.push_back(find_image(images, id));
    labels_.push_back(labels / (id + ".png"));
    if (images_.back().empty()) {
      missing.add(fmt::format("{}: no such image (.jpg, .jpeg or .png)", (images / id).string()));
    } else if (!fs::exists(labels_.back(), error)) {
      missing.add(fmt::format("{}: no such label map", labels_.back().string()));
    }
  }
  missing.report(list, ids_.size());
}

void Dataset::load_tags(const fs::path& list, const fs::path& path) {
  const Tags all = read_tags(path);
  Missing missing;
  for (const std::string& id : ids_) {
    const auto found = all.find(id);
    if (found == all.end()) {
      missing.add(fmt::format("{}: no tags for image {}", path.string(), id));
      continue;
    }
    if (found->second.size() != config_.classes - 1) {
      throw InputError("{}: {} tags for image {}, expected {} (one a class but the background)",
                       path.string(), found->second.size(), id, config_.classes - 1);
    }
    present_.push_back(present_in(found->second));
  }
  missing.report(list, ids_.size());
}

Sample Dataset::read(int index) const {
  Sample sample;
  sample.id = ids_.at(index);
  sample.image = read_image(images_[index]);
  sample.label = read_label_map(labels_[index], config_.classes, config_.ignore_label);
  if (sample.image.height != sample.label.height || sample.image.width != sample.label.width) {
    throw InputError(
        "{}: the label map is {} x {}, its image {} is {} x {} (width x height); expected the same",
        labels_[index].string(), sample.label.width, sample.label.height, images_[index].string(),
        sample.image.width, sample.image.height);
  }
  sample.present = tags_from_file_ ? present_[index] : present_in(sample.label, config_.classes);
  return sample;
}

}  // namespace scrawl
