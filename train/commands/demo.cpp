#include "data/demo_set.h"
#include "train/commands/commands.h"
#include "train/commands/make_device.h"
#include "train/config/demo_config.h"
#include "train/interrupt.h"
#include "train/report/log.h"
#include "train/report/progress.h"
#include "train/report/run_report.h"
#include "train/trainer.h"

namespace scrawl {
namespace {

/// The demo's configuration, with everything below `out`.
Config demo_config(const DemoOptions& options, const std::filesystem::path& out) {
  std::vector<std::string> overrides{"project_name=" + out.filename().string(),
                                     "work_dir.ckpt_dir=" + out.parent_path().string(),
                                     "dataset.data_root=" + (out / "data").string()};
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  return parse_config(kDemoConfig, "configs/demo.yaml", overrides);
}

}  // namespace

int demo_command(const DemoOptions& options) {
  std::filesystem::path out = std::filesystem::absolute(options.out).lexically_normal();
  if (out.filename().empty()) out = out.parent_path();  // "DIR/" is "DIR"
  const Config config = demo_config(options, out);
  Device device(device_options(options.device));

  const DemoConfig demo{.seed = config.seed};
  note_interrupts();
  JobProgress drawing("drawing the data set");
  draw_demo_set(config.data_root, demo, interruptible(std::ref(drawing)));

  Trainer trainer(device, config);
  trainer.run(Trainer::Start::fresh, [](const EpochSummary& summary) { log("{}", epoch_line(summary)); });
  write_result(trainer, device);
  write_run_contact_sheet(trainer, config);
  fmt::print("{}", score_table(*trainer.last_evaluation(), trainer.classes().names));
  fmt::print("\ntrained for {:.0f} s at {:.1f} images/s\nlook at {}\nnumbers in {}\n",
             trainer.state().seconds, trainer.images_per_second(),
             trainer.directory().contact_sheet().string(), trainer.directory().result().string());
  return 0;
}

}  // namespace scrawl
