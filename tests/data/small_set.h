#pragma once
#include "data/dataset.h"
#include "data/image.h"
#include "data/label_map.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {

/// A data set of `size` small images s0, s1, … in VOC layout, four classes, all of one colour and one label.
class SmallSet {
 public:
  explicit SmallSet(int size) {
    std::string list;
    for (int i = 0; i < size; ++i) {
      const std::string id = fmt::format("s{}", i);
      const Image photo = image(i);
      write_jpeg(root() / "JPEGImages" / (id + ".jpg"), photo, 95);
      LabelMap label{photo.height, photo.width, {}};
      label.labels.assign(size_t{1} * photo.height * photo.width, kUnlabelled);
      label.labels[0] = static_cast<uint8_t>(1 + i % 3);
      write_label_map(root() / "ScribbleLabels" / (id + ".png"), label, Palette{});
      list += id + "\n";
    }
    write_bytes(root() / "ImageSets" / "train.txt", list);
  }

  const std::filesystem::path& root() const { return directory_.path; }
  DatasetConfig config() const { return {.root = root(), .classes = 4}; }

  static Image image(int i) {
    Image image{20 + 3 * i, 24 + 2 * i, {}};
    image.pixels.assign(size_t{3} * image.height * image.width, static_cast<uint8_t>(40 + 10 * i));
    return image;
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace scrawl
