#include "data/dataset.h"

#include <array>
#include <span>

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

/// Says what is missing: the first file, and of how many ids.
void require_files(const std::vector<SampleFiles>& files, const DatasetConfig& config) {
  std::string first;
  int incomplete = 0;
  for (const SampleFiles& sample : files) {
    const std::vector<std::string> missing = sample.missing(config);
    if (!missing.empty() && incomplete++ == 0) first = missing.front();
  }
  if (incomplete == 0) return;
  throw InputError("{}{}", first,
                   incomplete == 1
                       ? ""
                       : fmt::format(" (and {} more of the {} ids in {}; scrawl check names them all)",
                                     incomplete - 1, files.size(), (config.root / config.list).string()));
}

}  // namespace

Dataset::Dataset(DatasetConfig config) : config_(std::move(config)), files_(find_samples(config_)) {
  require_files(files_, config_);
  for (const SampleFiles& files : files_) ids_.push_back(files.id);
  labels_read_.resize(ids_.size());
  std::error_code error;
  tags_from_file_ = fs::exists(config_.tags(), error);
  if (tags_from_file_) load_tags(config_.tags());
}

void Dataset::load_tags(const fs::path& path) {
  const Tags tags = read_tags(path);
  for (const std::string& id : ids_)
    present_.push_back(present_classes(tags_of(id, tags, config_.classes, path)));
}

Sample Dataset::read(int index) const {
  Sample sample;
  sample.id = ids_.at(index);
  sample.image = read_image(files_[index].image);
  sample.label = read_label(index);
  if (sample.image.height != sample.label.height || sample.image.width != sample.label.width) {
    throw InputError(
        "{}: the label map is {} x {}, its image {} is {} x {} (width x height); expected the same",
        files_[index].label.string(), sample.label.width, sample.label.height, files_[index].image.string(),
        sample.image.width, sample.image.height);
  }
  sample.present = tags_from_file_ ? present_[index] : present_in(sample.label, config_.classes);
  using FromFile = std::span<const uint8_t>;
  const LabelSummary summary =
      summarise(sample.label, tags_from_file_ ? FromFile(sample.present) : FromFile());
  const std::lock_guard lock(reading_);
  labels_read_[index] = summary;
  return sample;
}

std::vector<LabelSummary> Dataset::labels_read() const {
  const std::lock_guard lock(reading_);
  return labels_read_;
}

LabelMap Dataset::read_label(int index) const {
  return read_label_map(files_.at(index).label, config_.classes, config_.ignore_label);
}

}  // namespace scrawl
