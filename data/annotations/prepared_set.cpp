#include "data/annotations/prepared_set.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <set>

#include "data/annotations/draw_annotation.h"
#include "data/sample_files.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

constexpr const char *kImages = "JPEGImages", *kScribbles = "ScribbleLabels", *kMasks = "SegmentationClass",
                     *kLists = "ImageSets";

bool is_outside(Point p, ImageSize size) {
  return !(p.x >= -0.5f && p.y >= -0.5f && p.x < static_cast<float>(size.width) - 0.5f &&
           p.y < static_cast<float>(size.height) - 0.5f);
}

/// Draws the images of a set and counts what was drawn.
class Preparation {
 public:
  Preparation(const AnnotationSet& annotations, const ClassList& classes, const PrepareConfig& config)
      : annotations_(annotations), classes_(classes), config_(config), marked_(annotations.images.size()) {
    set_.classes.resize(classes.size());
    find_photos();
  }

  PreparedSet run(const fs::path& out, const ProgressCallback& progress) {
    for_each_index(
        static_cast<int>(annotations_.images.size()), [&](int i) { draw(i, out / kScribbles); }, progress);
    write_class_list(out / "classes.txt", classes_);
    const auto [train, val] = split();
    write_list(out / kLists / "train.txt", train);
    if (!val.empty()) write_list(out / kLists / "val.txt", val);
    set_.train = static_cast<int>(train.size());
    set_.val = static_cast<int>(val.size());
    if (config_.copy_images) {
      copy_photos(train, out / kImages);
      copy_photos(val, out / kImages);
    } else {
      link(config_.images, out / kImages);
    }
    if (!config_.masks.empty()) link(config_.masks, out / kMasks);
    return std::move(set_);
  }

 private:
  void find_photos() {
    std::vector<std::string> missing;
    for (const Annotation& annotation : annotations_.images) {
      photos_.push_back(find_image(config_.images, annotation.id));
      if (photos_.back().empty()) missing.push_back(annotation.id);
    }
    if (missing.empty()) return;
    throw InputError("{}: no such image (.jpg, .jpeg or .png); {} of the {} annotated images are missing",
                     (config_.images / missing.front()).string(), missing.size(), photos_.size());
  }

  void draw(int i, const fs::path& folder) {
    const Annotation& annotation = annotations_.images[i];
    const ImageSize size = read_image_size(photos_[i]);
    if (annotation.width > 0 && ImageSize{annotation.height, annotation.width} != size) {
      throw InputError("{}: is {} x {}, its annotation was made on {} x {} (width x height)",
                       photos_[i].string(), size.width, size.height, annotation.width, annotation.height);
    }
    const LabelMap map = draw_annotation(annotation, classes_, size, config_.width);
    marked_[i] = std::ranges::any_of(map.labels, [](uint8_t label) { return label != kUnlabelled; });
    if (marked_[i]) {
      write_label_map(folder / (annotation.id + ".png"), map, classes_.palette);
    }
    count(annotation, map, size);
  }

  void count(const Annotation& annotation, const LabelMap& map, ImageSize size) {
    std::array<int64_t, 256> pixels{};
    for (const uint8_t label : map.labels) ++pixels[label];
    const std::lock_guard lock(counting_);
    if (pixels[kUnlabelled] < std::ssize(map.labels)) set_.pixels += std::ssize(map.labels);
    for (size_t k = 0; k < set_.classes.size(); ++k) {
      set_.classes[k].pixels += pixels[k];
      set_.classes[k].images += pixels[k] > 0;
    }
    for (const DrawnShape& shape : annotation.shapes) {
      const uint8_t label = class_of(shape.name, classes_);
      if (label != kUnlabelled) ++set_.classes[label].shapes;
      if (shape.has_area()) continue;
      set_.outside += std::ranges::count_if(shape.points, [&](Point p) { return is_outside(p, size); });
    }
    for (const auto& [kind, number] : annotation.skipped) set_.skipped[kind] += number;
  }

  static void link(const fs::path& folder, const fs::path& from) {
    std::error_code error;
    fs::create_directory_symlink(fs::absolute(folder).lexically_normal(), from, error);
    if (error) {
      throw InputError("{}: cannot be linked to from {}: {}", folder.string(), from.parent_path().string(),
                       error.message());
    }
  }

  void copy_photos(const std::vector<std::string>& ids, const fs::path& folder) const {
    for_each_index(static_cast<int>(ids.size()), [&](int i) {
      const fs::path photo = find_image(config_.images, ids[i]);
      const fs::path copy = folder / (ids[i] + photo.extension().string());
      make_directories(copy.parent_path());
      fs::copy_file(photo, copy);
    });
  }

  /// Whether there is something to validate with: a mask where there are masks, else a scribble.
  bool can_validate(const std::string& id, const std::vector<std::string>& marked) const {
    std::error_code error;
    if (config_.masks.empty()) return std::ranges::binary_search(marked, id);
    return fs::exists(config_.masks / (id + ".png"), error) && !find_image(config_.images, id).empty();
  }

  std::vector<std::string> choose_val(const std::vector<std::string>& marked) const {
    const bool given = !config_.val_list.empty();
    std::vector<std::string> chosen;
    for (const std::string& id : given ? read_lines(config_.val_list) : marked) {
      if (can_validate(id, marked)) chosen.push_back(id);
    }
    if (chosen.empty()) {
      throw InputError("{}: none of these images can be validated on: there is no {} of them",
                       (given ? config_.val_list : config_.images).string(),
                       config_.masks.empty() ? "scribble" : "mask in " + config_.masks.string());
    }
    if (given) return chosen;
    if (marked.size() == 1) return {};
    std::vector<std::string> tenth;
    for (size_t i = std::min<size_t>(chosen.size(), 10) - 1; i < chosen.size(); i += 10)
      tenth.push_back(chosen[i]);
    return tenth;
  }

  struct Split {
    std::vector<std::string> train, val;
  };
  Split split() {
    std::vector<std::string> marked;
    for (size_t i = 0; i < marked_.size(); ++i) {
      (marked_[i] ? marked : set_.empty).push_back(annotations_.images[i].id);
    }
    if (marked.empty()) {
      std::string left_out;
      for (const auto& [kind, number] : set_.skipped)
        left_out += fmt::format("; {} of kind '{}' cannot be shown as scribbles", number, kind);
      throw InputError("{}: nothing is drawn on any of the {} annotated images{}", config_.images.string(),
                       marked_.size(), left_out);
    }
    Split split{{}, choose_val(marked)};
    const std::set<std::string_view> held_out(split.val.begin(), split.val.end());
    std::ranges::copy_if(marked, std::back_inserter(split.train),
                         [&](const std::string& id) { return !held_out.contains(id); });
    if (split.train.empty())
      throw InputError("{}: no image with scribbles is left to train on", config_.images.string());
    return split;
  }

  static void write_list(const fs::path& path, const std::vector<std::string>& ids) {
    write_file_atomically(path, [&](std::ostream& out) {
      for (const std::string& id : ids) out << id << '\n';
    });
  }

  const AnnotationSet& annotations_;
  const ClassList& classes_;
  const PrepareConfig& config_;
  std::vector<fs::path> photos_;
  std::vector<uint8_t> marked_;  // whether something was drawn
  std::mutex counting_;          // guards what is counted below
  PreparedSet set_;
};

}  // namespace

PreparedSet prepare_set(const fs::path& out, const AnnotationSet& annotations, const ClassList& classes,
                        const PrepareConfig& config, const ProgressCallback& progress) {
  return Preparation(annotations, classes, config).run(out, progress);
}

}  // namespace scrawl
