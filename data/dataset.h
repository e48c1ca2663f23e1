#pragma once
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/label_map.h"
#include "data/label_summary.h"
#include "data/sample_files.h"

namespace scrawl {

struct Sample {
  std::string id;
  Image image;
  LabelMap label;                // same height and width as the image
  std::vector<uint8_t> present;  // [classes]: 1 for the classes that the image shows; background always
};

class Dataset {
 public:
  /// Reads the list and the tags and looks for every file that it will need, so that a mistake shows before
  /// training starts.  InputError says what was looked for and where.
  explicit Dataset(DatasetConfig config);

  int size() const { return static_cast<int>(ids_.size()); }
  int classes() const { return config_.classes; }
  const std::vector<std::string>& ids() const { return ids_; }
  const DatasetConfig& config() const { return config_; }

  /// Image-level tags come from DatasetConfig::tags() when there, else from each sample's labels.
  bool tags_from_file() const { return tags_from_file_; }

  /// Decodes one sample; safe to call from several threads.  InputError for files that cannot be used.
  Sample read(int index) const;
  LabelMap read_label(int index) const;
  /// The size of a sample's image, without decoding it.
  ImageSize image_size(int index) const { return read_image_size(files_[index].image); }

  /// What the labels of each sample held, as far as samples have been read.
  std::vector<LabelSummary> labels_read() const;

 private:
  void load_tags(const std::filesystem::path& path);

  DatasetConfig config_;
  std::vector<std::string> ids_;
  std::vector<SampleFiles> files_;
  bool tags_from_file_ = false;
  mutable std::mutex reading_;  // guards the next one
  mutable std::vector<LabelSummary> labels_read_;
  std::vector<std::vector<uint8_t>> present_;  // of each id, when the tags come from the file
};

}  // namespace scrawl
