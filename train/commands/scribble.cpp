#include <algorithm>

#include "data/label_summary.h"
#include "data/mask_scribbles.h"
#include "engine/error.h"
#include "train/commands/commands.h"
#include "train/interrupt.h"
#include "train/report/log.h"
#include "train/report/progress.h"
#include "train/report/scribble_report.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

/// What a classes.txt beside the folder of masks says.
std::optional<ClassList> classes_beside(const fs::path& masks) {
  const fs::path file = fs::absolute(masks / ".." / "classes.txt").lexically_normal();
  return fs::exists(file) ? std::optional(read_class_list(file)) : std::nullopt;
}

/// One more than the highest class that the masks show.
int classes_in(const ScribbleCounts& counts) {
  int classes = 1;
  for (int k = 0; k < static_cast<int>(counts.size()); ++k) {
    if (counts[k].images > 0) classes = k + 1;
  }
  return classes;
}

}  // namespace

int scribble_command(const ScribbleOptions& options) {
  const std::optional<ClassList> given = classes_beside(options.masks);
  const ScribbleSetConfig config{.masks = options.masks,
                                 .out = options.out,
                                 .classes = given ? given->size() : kUnlabelled,
                                 .ignore_label = options.ignore_label,
                                 .threads = options.threads,
                                 .palette = given ? given->palette : voc_palette(),
                                 .style = {.seed = options.seed,
                                           .width = options.width,
                                           .length = options.shrink,
                                           .dropped = options.drop,
                                           .minimum_area = options.min_area}};
  const std::vector<std::string> ids = find_masks(options.masks);
  std::vector<SheetRow> rows = preview_rows(ids, config, options.images);

  note_interrupts();
  JobProgress progress("drawing scribbles");
  const ScribbleSet set = scribble_masks(config, interruptible(std::ref(progress)));

  const ClassList classes = given ? *given : default_classes(classes_in(set.counts));
  fs::path preview = fs::absolute(options.out).lexically_normal();
  if (preview.filename().empty()) preview = preview.parent_path();  // "DIR/" is "DIR"
  preview += "_preview.png";
  write_preview(preview, std::move(rows), options.out, !options.images.empty(), classes);
  fmt::print("{}", scribble_table(set, classes));
  if (!set.empty.empty()) log("warning: without any stroke: {}", name_some(set.empty));
  log("{} scribble maps in {}, a preview in {}", set.ids.size(), options.out.string(), preview.string());
  return 0;
}

}  // namespace scrawl
