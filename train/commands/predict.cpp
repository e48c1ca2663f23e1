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

int predict_command(const PredictOptions& options) {
  std::set<std::filesystem::path> stems;
  for (const auto& image : options.images) {
    if (!std::filesystem::is_regular_file(image)) throw InputError("{}: no such image", image.string());
    read_image_size(image);  // what is no image is refused before anything is written
    if (!stems.insert(image.stem()).second)
      throw InputError("{}: another image is called '{}' too, and both would be written to one file",
                       image.string(), image.stem().string());
  }
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
    const std::string stem = path.stem().string();
    write_label_map(options.out / (stem + ".png"), prediction, palette);
    write_png(options.out / (stem + "_overlay.png"), overlay(image, prediction, palette));
    progress.update(++done, stem);
  }
  progress.finish();
  log("{} predictions in {}", done, options.out.string());
  return 0;
}

}  // namespace scrawl
