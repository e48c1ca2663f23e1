#include "data/dataset_check.h"
#include "engine/error.h"
#include "train/commands/commands.h"
#include "train/report/check_report.h"
#include "train/report/class_names.h"
#include "train/report/progress.h"
#include "train/run_data.h"
#include "train/weights/load.h"

namespace scrawl {
namespace {

SetCheck check_with_progress(const DatasetConfig& data, const std::string& name, int threads) {
  std::optional<Progress> progress;  // from the first sample on: nobody knows their number before
  SetCheck set = check_set(data, name, threads, [&](int done, int total) {
    if (!progress) progress.emplace("checking the " + name + " set", total);
    progress->update(done);
  });
  if (progress) progress->finish();
  return set;
}

}  // namespace

int check_command(const CheckOptions& options) {
  const Config config = load_config(options.config, options.overrides);
  DatasetCheck check{.train = check_with_progress(training_data(config), "training", options.threads),
                     .val = check_with_progress(validation_data(config), "validation", options.threads),
                     .class_names = default_class_names(config.model.classes)};
  check.obstacle = obstacle(check.train, check.val, config.batch_size);
  try {
    check.class_names = read_class_names(config.data_root, config.model.classes);
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
