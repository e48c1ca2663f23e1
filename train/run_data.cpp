#include "train/run_data.h"

#include "train/report/log.h"

namespace scrawl {

DatasetConfig training_data(const Config& config) {
  return {.root = config.data_root,
          .list = config.train_list(),
          .label_dir = config.label_path,
          .classes = config.model.classes,
          .ignore_label = config.ignore_label};
}

DatasetConfig validation_data(const Config& config) {
  DatasetConfig data = training_data(config);
  data.list = config.val_list();
  data.label_dir = config.val_label_path;
  return data;
}

LoaderConfig loader_config(const Config& config, bool train) {
  return {.batch_size = config.batch_size,
          .crop_height = config.crop.height,
          .crop_width = config.crop.width,
          .workers = config.num_workers,
          .train = train,
          .seed = config.seed};
}

void warn_about_scribbles(const Evaluation& evaluation, const Config& config) {
  if (evaluation.labelled_share >= 0.5) return;
  log("warning: only {:.1f} % of the pixels in {} are labelled: these look like scribbles, and scores on "
      "them mean "
      "little; dataset.val_label_path can name a folder of dense masks",
      100 * evaluation.labelled_share, (config.data_root / config.val_label_path).string());
}

}  // namespace scrawl
