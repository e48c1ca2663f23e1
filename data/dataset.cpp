#include "data/dataset.h"

#include <array>

#include "data/tags.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

std::vector<uint8_t> present_in(const LabelMap& map, int classes) {
  std::array<uint8_t, 256> seen{};
  for (const uint8_t label : map.labels) seen[label] = 1;
  seen[0] = 1;
  return {seen.begin(), seen.begin() + classes};
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
    throw InputError("{}{}", first,
                     count == 1
                         ? ""
                         : fmt::format(" (and {} more of the {} ids in {}; scrawl check names them all)",
                                       count - 1, ids, list.string()));
  }
};

}  // namespace

Dataset::Dataset(DatasetConfig config) : config_(std::move(config)), files_(find_samples(config_)) {
  Missing missing;
  for (const SampleFiles& files : files_) {
    ids_.push_back(files.id);
    const std::vector<std::string> sentences = files.missing(config_);
    if (!sentences.empty()) missing.add(sentences.front());
  }
  missing.report(config_.root / config_.list, ids_.size());
  std::error_code error;
  tags_from_file_ = fs::exists(config_.tags(), error);
  if (tags_from_file_) load_tags(config_.tags());
}

void Dataset::load_tags(const fs::path& path) {
  const Tags all = read_tags(path);
  Missing missing;
  for (const std::string& id : ids_) {
    const auto found = all.find(id);
    if (found == all.end()) {
      missing.add(fmt::format("{}: no tags for image {}", path.string(), id));
      continue;
    }
    check_tags(found->second, config_.classes, id, path);
    present_.push_back(present_classes(found->second));
  }
  missing.report(config_.root / config_.list, ids_.size());
}

Sample Dataset::read(int index) const {
  Sample sample;
  sample.id = ids_.at(index);
  sample.image = read_image(files_[index].image);
  sample.label = read_label_map(files_[index].label, config_.classes, config_.ignore_label);
  if (sample.image.height != sample.label.height || sample.image.width != sample.label.width) {
    throw InputError(
        "{}: the label map is {} x {}, its image {} is {} x {} (width x height); expected the same",
        files_[index].label.string(), sample.label.width, sample.label.height, files_[index].image.string(),
        sample.image.width, sample.image.height);
  }
  sample.present = tags_from_file_ ? present_[index] : present_in(sample.label, config_.classes);
  return sample;
}

}  // namespace scrawl
