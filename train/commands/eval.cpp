#include "data/class_list.h"
#include "engine/error.h"
#include "train/checkpoint.h"
#include "train/commands/commands.h"
#include "train/commands/make_device.h"
#include "train/evaluator.h"
#include "train/report/log.h"
#include "train/report/progress.h"
#include "train/report/run_report.h"
#include "train/run_data.h"

namespace scrawl {

int eval_command(const EvalOptions& options) {
  const Config config = load_config(options.config, options.overrides);
  const Checkpoint checkpoint(options.checkpoint);
  Device device(device_options(options.device));
  Pfa model(device, config.model);
  model.initialise(std::vector<GroupSettings>(kGroups), 0);
  checkpoint.load(model);
  const Dataset dataset(validation_data(config));

  Progress progress("evaluating", dataset.size());
  Evaluation evaluation;
  if (options.whole_images) {
    evaluation = evaluate_whole_images(model, dataset, [&](int done, int) { progress.update(done, ""); });
  } else {
    const auto batches = make_batch_source(device, dataset, loader_config(config, /*train=*/false));
    evaluation = Evaluator(model, *batches).run([&](int done, int total) {
      progress.update(dataset.size() * done / total, "");
    });
  }
  progress.finish();
  if (!checkpoint.has_feature_augmentation()) {
    std::erase_if(evaluation.predictions,
                  [](const Prediction& prediction) { return prediction.name != "without"; });
    log("{} has no feature augmentation: only the plain prediction is scored", options.checkpoint.string());
  }
  warn_about_scribbles(evaluation, config);
  const std::vector<std::string> names = classes_of(config.data_root, config.model.classes).names;
  fmt::print("{}", options.json ? scores_json(evaluation, names) : score_table(evaluation, names));
  return 0;
}

}  // namespace scrawl
