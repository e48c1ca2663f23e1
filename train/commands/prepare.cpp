#include <algorithm>
#include <cctype>
#include <cstring>

#include "data/annotations/collect_tags.h"
#include "data/annotations/prepared_set.h"
#include "engine/error.h"
#include "engine/files.h"
#include "train/commands/commands.h"
#include "train/interrupt.h"
#include "train/report/log.h"
#include "train/report/prepare_report.h"
#include "train/report/progress.h"

namespace scrawl {
namespace {

/// A word as a shell reads it back.
std::string quoted(const std::string& word) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) || c >= 0x80 || std::strchr("_-./", c); };
  if (std::ranges::all_of(word, plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return std::filesystem::is_directory(path) ? path : std::filesystem::absolute(path).parent_path();
}

}  // namespace

int prepare_command(const PrepareOptions& options) {
  if (options.width % 2 == 0) throw InputError("--width {}: expected an odd number of pixels", options.width);
  const PrepareConfig config{
      .images = options.images.empty() ? folder_of(options.annotations) : options.images,
      .masks = options.masks,
      .val_list = options.val_list,
      .width = options.width,
      .copy_images = options.copy_images};
  note_interrupts();
  std::string report;
  int count = 0;
  write_folder_atomically(options.out, [&](const std::filesystem::path& out) {
    JobProgress reading("reading"), drawing("drawing");
    const AnnotationSet annotations =
        read_annotations(options.format, options.annotations, interruptible(std::ref(reading)));
    const ClassList classes =
        options.classes.empty() ? annotations.classes : read_class_list(options.classes);
    const PreparedSet set = prepare_set(out, annotations, classes, config, interruptible(std::ref(drawing)));
    count = classes.size();
    report = prepare_report(set, classes);
    write_file_atomically(out / "report.txt", [&](std::ostream& file) { file << report; });
  });
  fmt::print("{}", report);
  log("to train on it: scrawl train CONFIG --set dataset.data_root={} --set dataset.num_classes={} --set "
      "dataset.val_label_path={}",
      quoted(options.out.string()), count, options.masks.empty() ? "ScribbleLabels" : "SegmentationClass");
  return 0;
}

int prepare_tags_command(const PrepareTagsOptions& options) {
  const ClassList classes = options.classes.empty() ? voc_classes() : read_class_list(options.classes);
  note_interrupts();
  JobProgress reading("reading");
  const Tags tags = options.objects.empty()
                        ? tags_of_label_maps(options.labels, classes, options.ignore_label,
                                             interruptible(std::ref(reading)))
                        : tags_of_voc_objects(options.objects, classes, interruptible(std::ref(reading)));
  write_tags(options.out, tags);
  fmt::print("{}", tags_report(tags, classes));
  log("written to {}; a data set uses the cls_labels.npy in its folder", options.out.string());
  return 0;
}

}  // namespace scrawl
