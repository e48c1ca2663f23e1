#include "data/class_list.h"
#include "data/dataset_check.h"
#include "engine/error.h"
#include "train/commands/commands.h"
#include "train/report/check_report.h"
#include "train/report/progress.h"
#include "train/run_data.h"
#include "train/weights/load.h"

namespace scrawl {
namespace {

SetCheck check_with_progress(const DatasetConfig& data, const std::string& name, int threads) {
  JobProgress progress("checking the " + name + " set");
  return check_set(data, name, threads, std::ref(progress));
}

}  // namespace

int check_command(const CheckOptions& options) {
  const Config config = load_config(options.config, options.overrides);
  DatasetCheck check{.train = check_with_progress(training_data(config), "training", options.threads),
                     .val = check_with_progress(validation_data(config), "validation", options.threads),
                     .class_names = default_classes(config.model.classes).names};
  check.obstacle = obstacle(check.train, check.val, config.batch_size);
  try {
    check.class_names = classes_of(config.data_root, config.model.classes).names;
    if (config.pretrained) find_pretrained(config.pretrained_path, config.backbone);
  } catch (const InputError& error) {
    if (!check.obstacle) check.obstacle = error.what();
  }
  check.warnings = check_warnings(check.train, check.val, check.class_names);
  fmt::print("{}", options.json ? check_json(check) : check_text(check));
  if (check.obstacle) throw InputError("training could not work: {}", *check.obstacle);
  return 0;
}

}  // namespace scrawl
