#include <set>

#include "engine/error.h"
#include "train/checkpoint.h"
#include "train/commands/commands.h"
#include "train/commands/make_device.h"
#include "train/evaluator.h"
#include "train/interrupt.h"
#include "train/report/log.h"
#include "train/report/overlay.h"
#include "train/report/progress.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

/// What is written for a photo: its label map and an overlay.
struct Written {
  fs::path labels, overlay;
};

Written written_for(const fs::path& photo, const fs::path& out) {
  const std::string stem = photo.stem().string();
  return {out / (stem + ".png"), out / (stem + "_overlay.png")};
}

/// Before anything is written: every photo can be, and no file is written twice or over a photo.
void check_photos(const PredictOptions& options) {
  std::set<fs::path> written;
  std::error_code error;
  for (const fs::path& photo : options.images) {
    if (!fs::is_regular_file(photo)) throw InputError("{}: no such image", photo.string());
    read_image_size(photo);
    const auto [labels, overlay] = written_for(photo, options.out);
    for (const fs::path& file : {labels, overlay})
      if (!written.insert(file).second)
        throw InputError("{}: another image's prediction would be written to {} too", photo.string(),
                         file.string());
  }
  for (const fs::path& photo : options.images) {
    const fs::path file = options.out / photo.filename();
    if (written.contains(file) && fs::equivalent(file, photo, error))
      throw InputError("--out {}: a prediction would be written over the photo {}; name another folder",
                       options.out.string(), photo.string());
  }
}

}  // namespace

int predict_command(const PredictOptions& options) {
  check_photos(options);
  const Checkpoint checkpoint(options.checkpoint);
  Device device(device_options(options.device));
  Pfa model(device, checkpoint.info().model);
  model.initialise(std::vector<GroupSettings>(kGroups), 0);
  checkpoint.load(model);
  if (!checkpoint.knows_heads_and_strides())
    log("{} does not say, and is taken to have heads {} and strides {}", options.checkpoint.string(),
        fmt::join(model.config().heads, " "), fmt::join(model.config().strides, " "));

  const Palette& palette = checkpoint.info().classes.palette;

  note_interrupts();
  Progress progress("predicting", static_cast<int64_t>(options.images.size()));
  int64_t done = 0;
  for (const auto& path : options.images) {
    stop_if_interrupted();
    const Image image = read_image(path);
    const LabelMap prediction = predict_image(model, image);
    const auto [labels_file, overlay_file] = written_for(path, options.out);
    write_label_map(labels_file, prediction, palette);
    write_png(overlay_file, overlay(image, prediction, palette));
    progress.update(++done, path.stem().string());
  }
  progress.finish();
  log("{} predictions in {}", done, options.out.string());
  return 0;
}

}  // namespace scrawl
