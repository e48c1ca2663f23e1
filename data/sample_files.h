#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace scrawl {

/// A data set in VOC layout.  Relative paths are below `root`.
struct DatasetConfig {
  std::filesystem::path root;
  std::filesystem::path list = "ImageSets/train.txt";  // one id a line
  std::filesystem::path label_dir = "ScribbleLabels";
  std::filesystem::path image_dir = "JPEGImages";
  int classes = 0;         // with background, which is class 0
  int ignore_label = 255;  // what unlabelled pixels hold in the files

  /// Image-level tags; derived from the labels where this file is missing.
  std::filesystem::path tags() const { return root / "cls_labels.npy"; }
};

/// Where the files of one id are, or should be.
struct SampleFiles {
  std::string id;
  std::filesystem::path image;  // empty when there is none
  std::filesystem::path label;
  bool has_label = false;

  /// What is missing, each a sentence that names it.
  std::vector<std::string> missing(const DatasetConfig& config) const;
};

/// Reads the list and looks for the files of every id.  InputError for a folder or list that is missing, an
/// empty list and an impossible number of classes; that files are missing is for the caller to judge.
std::vector<SampleFiles> find_samples(const DatasetConfig& config);

/// InputError when the images of a list do not fill one batch.
void require_full_batch(const std::filesystem::path& list, size_t images, int batch_size);

/// The photo of an id in a folder (.jpg, .jpeg or .png, in small or capital letters), or an empty path.
std::filesystem::path find_image(const std::filesystem::path& folder, const std::string& id);

}  // namespace scrawl
