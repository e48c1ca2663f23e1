#include "engine/error.h"
#include "train/commands/commands.h"
#include "train/commands/make_device.h"
#include "train/report/log.h"
#include "train/report/profile_report.h"
#include "train/report/run_report.h"
#include "train/trainer.h"

namespace scrawl {

int train_command(const TrainOptions& options) {
  if (options.resume && options.fresh) throw InputError("--resume and --fresh exclude each other");
  const Config config = load_config(options.config, options.overrides);
  Device device(device_options(options.device));
  Trainer trainer(device, config);
  Profiler profiler;
  if (options.profile) device.attach(&profiler);

  const auto start = options.resume  ? Trainer::Start::resume
                     : options.fresh ? Trainer::Start::fresh
                                     : Trainer::Start::refuse;
  trainer.run(start, [](const EpochSummary& summary) { log("{}", epoch_line(summary)); });
  device.attach(nullptr);

  write_result(trainer, device);
  write_run_contact_sheet(trainer, config);
  fmt::print("{}", score_table(*trainer.last_evaluation(), trainer.classes().names));
  if (options.profile) fmt::print("\n{}", profile_table(profiler, device));
  log("results in {}", trainer.directory().path.string());
  return 0;
}

}  // namespace scrawl
