#include "train/run_data.h"

#include "train/report/log.h"

namespace scrawl {

DatasetConfig training_data(const Config& config) {
  return {.root = config.data_root,
          .list = config.train_list(),
          .label_dir = config.label_path,
          .image_dir = config.image_path,
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
          .seed = config.seed,
          .storage = config.precision};
}

void warn_about_scribbles(const Evaluation& evaluation, const Config& config) {
  if (looks_like_scribbles(evaluation.labelled_share))
    log("warning: {}",
        scribbles_to_score_on(evaluation.labelled_share, config.data_root / config.val_label_path));
}

void warn_about_labels(const Dataset& dataset, const std::vector<std::string>& class_names,
                       const std::string& what) {
  const auto warnings = label_warnings(dataset.labels_read(), dataset.ids(), class_names, what);
  for (const std::string& warning : warnings) log("warning: {}", warning);
}

}  // namespace scrawl
