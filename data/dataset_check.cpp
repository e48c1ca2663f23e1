#include "data/dataset_check.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "data/image.h"
#include "data/tags.h"
#include "engine/error.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

using Counts = std::array<int64_t, 256>;  // pixels by stored value

/// What one id turned out to be.
struct SampleCheck {
  std::vector<Fault> faults;
  int image_height = 0, image_width = 0;  // 0 when there is no image to read
  Counts counts{};
  LabelSummary labels;  // read() when the label map has no fault
};

bool is_stray(int value, const DatasetConfig& config) {
  return value >= config.classes && value != config.ignore_label;
}

/// One sentence about the values outside of the classes, or nothing.
std::optional<std::string> stray_labels(const LabelMap& map, const DatasetConfig& config,
                                        const fs::path& file) {
  std::set<int> values;
  std::optional<size_t> first;
  int64_t pixels = 0;
  for (size_t i = 0; i < map.labels.size(); ++i) {
    if (!is_stray(map.labels[i], config)) continue;
    if (!first) first = i;
    values.insert(map.labels[i]);
    ++pixels;
  }
  if (!first) return {};
  return fmt::format("{}: {} pixels hold {} (the first: x {}, y {}), expected 0 to {} or {} (unlabelled)",
                     file.string(), pixels, fmt::join(values, ", "), *first % map.width, *first / map.width,
                     config.classes - 1, config.ignore_label);
}

void read_label(SampleCheck& check, const SampleFiles& files, const DatasetConfig& config,
                std::span<const uint8_t> tags) {
  LabelMap map = read_stored_indices(files.label);
  for (const uint8_t value : map.labels) ++check.counts[value];
  if (auto sentence = stray_labels(map, config, files.label)) {
    check.faults.push_back({FaultKind::stray_labels, files.id, std::move(*sentence)});
    return;
  }
  const bool fits = map.height == check.image_height && map.width == check.image_width;
  if (!fits && check.image_height > 0) {
    check.faults.push_back(
        {FaultKind::sizes_differ, files.id,
         fmt::format("{}: the label map is {} x {}, its image {} x {} (width x height)", files.label.string(),
                     map.width, map.height, check.image_width, check.image_height)});
    return;
  }
  std::ranges::replace(map.labels, static_cast<uint8_t>(config.ignore_label), kUnlabelled);
  check.labels = summarise(map, tags);
}

SampleCheck read_sample(const SampleFiles& files, const DatasetConfig& config,
                        std::span<const uint8_t> tags) {
  SampleCheck check;
  const auto attempt = [&](auto read) {
    try {
      read();
    } catch (const InputError& error) {
      check.faults.push_back({FaultKind::unreadable, files.id, error.what()});
    }
  };
  for (const std::string& sentence : files.missing(config))
    check.faults.push_back({FaultKind::missing, files.id, sentence});
  if (!files.image.empty()) {
    attempt([&] {
      const Image image = read_image(files.image);
      check.image_height = image.height;
      check.image_width = image.width;
    });
  }
  if (files.has_label) attempt([&] { read_label(check, files, config, tags); });
  return check;
}

/// The tags of each id, empty for one whose tags cannot be used; the set's faults say why.
std::vector<std::vector<uint8_t>> read_present(SetCheck& set) {
  std::vector<std::vector<uint8_t>> present(set.ids.size());
  const fs::path path = set.config.tags();
  std::error_code error;
  set.tags_from_file = fs::exists(path, error);
  if (!set.tags_from_file) return present;
  try {
    const Tags tags = read_tags(path);
    for (size_t i = 0; i < present.size(); ++i) {
      try {
        present[i] = present_classes(tags_of(set.ids[i], tags, set.config.classes, path));
      } catch (const InputError& fault) {
        set.faults.push_back({FaultKind::tags, set.ids[i], fault.what()});
      }
    }
  } catch (const InputError& damage) {
    set.faults.push_back({FaultKind::tags, "", damage.what()});
  }
  return present;
}

std::string nothing_labelled(const DatasetConfig& config) {
  return fmt::format(
      "{}: none of the label maps in {} has a labelled pixel (all are {}); there is nothing to learn from",
      (config.root / config.list).string(), (config.root / config.label_dir).string(), config.ignore_label);
}

Spread spread_of(std::vector<int> values) {
  std::erase(values, 0);
  if (values.empty()) return {};
  std::ranges::sort(values);
  return {values.front(), values[values.size() / 2], values.back()};
}

/// What the samples come to, taken in the order of the list.
void add_up(SetCheck& set, std::vector<SampleCheck> samples,
            const std::vector<std::vector<uint8_t>>& present) {
  set.classes.resize(set.config.classes);
  std::vector<int> heights, widths;
  for (size_t i = 0; i < samples.size(); ++i) {
    SampleCheck& sample = samples[i];
    heights.push_back(sample.image_height);
    widths.push_back(sample.image_width);
    std::ranges::move(sample.faults, std::back_inserter(set.faults));
    for (int value = 0; value < 256; ++value) {
      if (sample.counts[value] == 0 || !is_stray(value, set.config)) continue;
      set.stray[value].pixels += sample.counts[value];
      ++set.stray[value].images;
    }
    const LabelSummary& labels = set.labels.emplace_back(sample.labels);
    for (size_t k = 0; k < set.classes.size(); ++k) {
      set.classes[k].tagged += !present[i].empty() && present[i][k];
      set.classes[k].images += labels.drawn[k];
      if (labels.drawn[k]) set.classes[k].pixels += sample.counts[k];
    }
    set.pixels += labels.pixels;
    set.labelled += labels.labelled;
  }
  set.height = spread_of(std::move(heights));
  set.width = spread_of(std::move(widths));
}

}  // namespace

std::string_view name_of(FaultKind kind) {
  constexpr std::array<std::string_view, kFaultKinds> kNames{"missing", "unreadable", "sizes differ",
                                                             "stray labels", "tags"};
  return kNames[static_cast<size_t>(kind)];
}

int64_t SetCheck::faults_of(FaultKind kind) const {
  return std::ranges::count(faults, kind, &Fault::kind);
}

double SetCheck::labelled_share() const {
  return pixels > 0 ? static_cast<double>(labelled) / static_cast<double>(pixels) : 0.0;
}

SetCheck check_set(const DatasetConfig& config, const std::string& name, int threads,
                   const ProgressCallback& progress) {
  SetCheck set{.name = name, .config = config};
  std::vector<SampleFiles> files;
  try {
    files = find_samples(config);
  } catch (const InputError& error) {
    set.broken = error.what();
    return set;
  }
  for (const SampleFiles& sample : files) set.ids.push_back(sample.id);
  const std::vector<std::vector<uint8_t>> present = read_present(set);
  std::vector<SampleCheck> samples(files.size());
  const auto read = [&](int i) { samples[i] = read_sample(files[i], config, present[i]); };
  for_each_index(static_cast<int>(files.size()), read, progress, threads);
  add_up(set, std::move(samples), present);
  return set;
}

std::optional<std::string> obstacle(const SetCheck& train, const SetCheck& val, int batch_size) {
  for (const SetCheck* set : {&train, &val}) {
    if (set->broken) return set->broken;
  }
  for (const SetCheck* set : {&train, &val}) {
    if (set->faults.empty()) continue;
    const size_t more = set->faults.size() - 1;
    return set->faults.front().what +
           (more ? fmt::format(" (and {} more in the {} set)", more, set->name) : "");
  }
  try {
    require_full_batch(train.config.root / train.config.list, train.ids.size(), batch_size);
  } catch (const InputError& error) {
    return error.what();
  }
  if (train.labelled == 0) return nothing_labelled(train.config);
  return {};
}

std::vector<std::string> check_warnings(const SetCheck& train, const SetCheck& val,
                                        std::span<const std::string> class_names) {
  std::vector<std::string> warnings = list_warnings(train.ids, val.ids);
  for (const SetCheck* set : {&train, &val}) {
    if (set->broken) continue;
    std::ranges::move(label_warnings(set->labels, set->ids, class_names, set->name),
                      std::back_inserter(warnings));
  }
  if (val.pixels > 0 && looks_like_scribbles(val.labelled_share()))
    warnings.push_back(scribbles_to_score_on(val.labelled_share(), val.config.root / val.config.label_dir));
  return warnings;
}

void require_labels(const Dataset& dataset) {
  for (int i = 0; i < dataset.size(); ++i) {
    if (summarise(dataset.read_label(i)).labelled > 0) return;
  }
  throw InputError("{}", nothing_labelled(dataset.config()));
}

}  // namespace scrawl
