#include "data/sample_files.h"

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

void check_directory(const fs::path& path, std::string_view what) {
  std::error_code error;
  if (!fs::is_directory(path, error)) throw InputError("{}: no such directory ({})", path.string(), what);
}

}  // namespace

std::vector<std::string> SampleFiles::missing(const DatasetConfig& config) const {
  std::vector<std::string> sentences;
  if (image.empty()) {
    sentences.push_back(fmt::format("{}: no such image (.jpg, .jpeg or .png)",
                                    (config.root / config.image_dir / id).string()));
  }
  if (!has_label) sentences.push_back(fmt::format("{}: no such label map", label.string()));
  return sentences;
}

std::vector<SampleFiles> find_samples(const DatasetConfig& config) {
  if (config.classes < 1 || config.classes > 255)
    throw InputError("{} classes: expected 1 to 255, background included", config.classes);
  check_directory(config.root, "the data set's root");
  const fs::path images = config.root / config.image_dir, labels = config.root / config.label_dir;
  check_directory(images, "images");
  check_directory(labels, "labels");
  const fs::path list = config.root / config.list;
  std::vector<SampleFiles> samples;
  std::error_code error;
  for (const std::string& id : read_lines(list)) {
    SampleFiles sample{.id = id, .image = find_image(images, id), .label = labels / (id + ".png")};
    sample.has_label = fs::exists(sample.label, error);
    samples.push_back(std::move(sample));
  }
  if (samples.empty()) throw InputError("{}: the list is empty, expected one image id a line", list.string());
  return samples;
}

void require_full_batch(const fs::path& list, size_t images, int batch_size) {
  if (images >= static_cast<size_t>(batch_size)) return;
  throw InputError("{}: {} images do not fill one batch of {}; choose a batch_size of at most {}",
                   list.string(), images, batch_size, images);
}

fs::path find_image(const fs::path& folder, const std::string& id) {
  std::error_code error;
  for (const char* extension : {".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG"}) {
    fs::path path = folder / (id + extension);
    if (fs::exists(path, error)) return path;
  }
  return {};
}

}  // namespace scrawl
