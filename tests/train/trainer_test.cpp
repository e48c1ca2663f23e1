#include "train/trainer.h"

#include <csignal>
#include <fstream>

#include "data/label_map.h"
#include "data/palette.h"
#include "engine/error.h"
#include "engine/files.h"
#include "tests/train/tiny_run.h"
#include "train/interrupt.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

class TrainerTest : public TinyRun {};

TEST_F(TrainerTest, LossesDoNotDependOnThreadsOrWorkers) {
  const std::vector<float> one = losses(config("one", {"dataset.num_workers=0"}), 1);
  ASSERT_EQ(one.size(), 8u);
  EXPECT_EQ(one, losses(config("two", {"dataset.num_workers=1"}), 2));
  EXPECT_EQ(one, losses(config("three", {"dataset.num_workers=3"}), 3));
}

TEST_F(TrainerTest, AnotherSeedGivesOtherLosses) {
  EXPECT_NE(losses(config("seed_1", {"seed=1"}), 2), losses(config("seed_2", {"seed=2"}), 2));
}

TEST_F(TrainerTest, GoesThroughItsPhasesAndLearns) {
  // 60 epochs of 2 steps: enough for the loss to fall well below that of the start.
  Device device;
  Trainer trainer(device,
                  config("learns", {"train.epoch=60", "prototype.use_epoch=30", "train.val_every=60"}));
  std::vector<double> means;
  trainer.run(Trainer::Start::fresh, [&](const EpochSummary& summary) { means.push_back(summary.loss); });
  EXPECT_EQ(trainer.state().phases.front(), Phase::without);
  EXPECT_EQ(trainer.state().phases.back(), Phase::global);
  EXPECT_LT(means.back(), 0.7 * means.front());
}

TEST_F(TrainerTest, ResumingGivesTheLossesOfARunInOnePiece) {
  const std::vector<float> whole = losses(config("whole"), 2);
  const Config config = TinyRun::config("pieces");
  std::vector<float> pieces;
  const auto collect = [&](const EpochSummary& summary) {
    pieces.insert(pieces.end(), summary.losses.begin(), summary.losses.end());
  };
  struct Interrupted {};
  {
    // Interrupted after the third epoch, when the prototype bank is in use.
    Device device;
    Trainer trainer(device, config);
    EXPECT_THROW(trainer.run(Trainer::Start::fresh,
                             [&](const EpochSummary& summary) {
                               collect(summary);
                               if (summary.epoch == 2) throw Interrupted{};
                             }),
                 Interrupted);
  }
  Device device;
  Trainer trainer(device, config);
  trainer.run(Trainer::Start::resume, collect);
  EXPECT_EQ(pieces, whole);

  std::ifstream history(trainer.directory().history());
  int lines = 0;
  for (std::string line; std::getline(history, line);) ++lines;
  EXPECT_EQ(lines, 4);
}

TEST_F(TrainerTest, TheConfigurationOfAResumedRunIsTheOneItWentOnWith) {
  losses(config("longer", {"train.epoch=1"}), 1);
  const Config longer = config("longer", {"train.epoch=2"});
  Device device;
  Trainer(device, longer).run(Trainer::Start::resume);
  EXPECT_EQ(read_file(root() / "runs" / "longer" / "config.yaml"), describe(longer));
}

TEST_F(TrainerTest, AnEpochWithoutItsCheckpointIsInHistoryOnce) {
  const Config config = TinyRun::config("killed");
  struct Killed {};
  {
    Device device;
    Trainer trainer(device, config);
    EXPECT_THROW(trainer.run(Trainer::Start::fresh, [](const EpochSummary&) { throw Killed{}; }), Killed);
    // As if the process had ended between writing the history and the checkpoint.
    std::ofstream(trainer.directory().history(), std::ios::app) << "{\"epoch\": 1}\n{\"epo";
  }
  Device device;
  Trainer trainer(device, config);
  trainer.run(Trainer::Start::resume);
  std::ifstream history(trainer.directory().history());
  int epoch = 0;
  for (std::string line; std::getline(history, line); ++epoch)
    EXPECT_NE(line.find(fmt::format("\"epoch\":{},", epoch)), std::string::npos) << line;
  EXPECT_EQ(epoch, 4);
  EXPECT_GT(trainer.images_per_second(), 0.0);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

TEST_F(TrainerTest, CtrlCStopsBetweenTwoStepsAndLeavesWhatResumeNeeds) {
  const std::vector<float> whole = losses(config("undisturbed"), 1);
  const Config config = TinyRun::config("interrupted");
  std::vector<float> pieces;
  const auto collect = [&](const EpochSummary& summary) {
    pieces.insert(pieces.end(), summary.losses.begin(), summary.losses.end());
  };
  {
    Device device({.threads = 1});
    Trainer trainer(device, config);
    EXPECT_THROW(trainer.run(Trainer::Start::fresh,
                             [&](const EpochSummary& summary) {
                               collect(summary);
                               if (summary.epoch != 1) return;
                               std::raise(SIGINT);
                               std::raise(SIGTERM);
                             }),
                 Interrupted);
  }
  const fs::path run = root() / "runs" / "interrupted";
  EXPECT_EQ(names_in(run), (std::vector<std::string>{"best_local.safetensors", "best_without.safetensors",
                                                     "config.yaml", "history.jsonl", "last.safetensors"}));
  Device device({.threads = 1});
  Trainer trainer(device, config);
  trainer.run(Trainer::Start::resume, collect);
  EXPECT_EQ(pieces, whole);
}

TEST_F(TrainerTest, AnEarlierRunStaysUntilTheFirstEpochIsThrough) {
  const Config config = TinyRun::config("replaced");
  losses(config, 1);
  const fs::path run = root() / "runs" / "replaced";
  const std::string before = read_file(run / "history.jsonl");
  for (const char* list : {"train.txt", "val.txt"}) {
    const fs::path data = root() / "unreadable" / list;
    fs::create_directories(data.parent_path());
    fs::copy(root() / "data", data, fs::copy_options::recursive);
    for (const std::string& id : read_lines(data / "ImageSets" / list))
      fs::resize_file(data / "JPEGImages" / (id + ".jpg"), 1000);
    EXPECT_THROW(losses(TinyRun::config("replaced", {"dataset.data_root=" + data.string()}), 1), InputError);
    EXPECT_EQ(read_file(run / "history.jsonl"), before) << list;
    EXPECT_TRUE(fs::exists(run / "last.safetensors")) << list;
  }
}

TEST_F(TrainerTest, WhatAKilledRunWasWritingIsRemoved) {
  const Config config = TinyRun::config("half_written", {"train.epoch=1"});
  losses(config, 1);
  const fs::path run = root() / "runs" / "half_written";
  const std::vector<std::string> whole = names_in(run);
  for (const char* name : {"last.safetensors.4711.tmp", "best_local.safetensors.1.tmp"})
    std::ofstream(run / name) << "half";
  Device device;
  Trainer(device, config).run(Trainer::Start::resume);
  EXPECT_EQ(names_in(run), whole);
}

TEST_F(TrainerTest, ARunThatWroteNothingLeavesNoFolder) {
  const fs::path runs = root() / "new_runs";
  const fs::path data = root() / "unreadable_val";
  fs::copy(root() / "data", data, fs::copy_options::recursive);
  fs::resize_file(data / "JPEGImages" / (read_lines(data / "ImageSets/val.txt")[0] + ".jpg"), 1000);
  fs::create_directories(runs / "mine");
  for (const char* name : {"mine", "made"})
    EXPECT_THROW(
        losses(config(name, {"work_dir.ckpt_dir=" + runs.string(), "dataset.data_root=" + data.string()}), 1),
        InputError);
  EXPECT_EQ(names_in(runs), (std::vector<std::string>{"mine"})) << "that was there before";
}

TEST_F(TrainerTest, AFolderTakesOneTrainingAtATime) {
  const Config config = TinyRun::config("shared", {"train.epoch=1"});
  Device device;
  Trainer first(device, config), second(device, config);
  first.run(Trainer::Start::fresh);
  EXPECT_THROW(second.run(Trainer::Start::fresh), InputError);
  EXPECT_THROW(second.run(Trainer::Start::resume), InputError);
  EXPECT_TRUE(fs::exists(first.directory().last()));
}

TEST_F(TrainerTest, AFinishedRunKeepsItsSpeedWhenResumed) {
  const Config config = TinyRun::config("finished", {"train.epoch=1"});
  losses(config, 2);
  Device device;
  Trainer trainer(device, config);
  trainer.run(Trainer::Start::resume);
  EXPECT_GT(trainer.images_per_second(), 0.0);
}

TEST_F(TrainerTest, AnExistingRunIsNotOverwrittenByAccident) {
  const Config config = TinyRun::config("twice", {"train.epoch=1"});
  losses(config, 2);
  Device device;
  Trainer trainer(device, config);
  EXPECT_THROW(trainer.run(Trainer::Start::refuse), InputError);
  EXPECT_THROW(Trainer(device, TinyRun::config("never")).run(Trainer::Start::resume), InputError);
}

TEST_F(TrainerTest, ResumingWithAnotherModelNamesTheDifference) {
  losses(config("sizes", {"train.epoch=1"}), 2);
  Device device;
  Trainer trainer(device, config("sizes", {"model.embed_dims=[8, 16, 24, 40]"}));
  try {
    trainer.run(Trainer::Start::resume);
    FAIL() << "a checkpoint of another model was accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("embed_dims [8,16,24,32], this model has [8,16,24,40]"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(TrainerTest, ABatchWithoutLabelsContributesNothingAndTrainingGoesOn) {
  const fs::path data = root() / "unlabelled";
  fs::copy(root() / "data", data, fs::copy_options::recursive);
  const std::string labelled = read_lines(data / "ImageSets/train.txt").front() + ".png";
  for (const auto& file : fs::directory_iterator(data / "ScribbleLabels")) {
    const uint8_t label = file.path().filename() == labelled ? 1 : kUnlabelled;
    write_label_map(file, {64, 64, std::vector<uint8_t>(64 * 64, label)}, voc_palette());
  }
  const std::vector<float> all = losses(config("unlabelled", {"dataset.data_root=" + data.string()}), 2);
  ASSERT_EQ(all.size(), 8u);
  // Without prototypes there is no other loss, and one of an epoch's two batches has no labels.
  for (int step = 0; step < 4; step += 2) EXPECT_NE(all[step] == 0.0f, all[step + 1] == 0.0f) << step;
  for (float loss : all) EXPECT_TRUE(std::isfinite(loss));
}

TEST_F(TrainerTest, WarnsOfWhatItReadsThatMaySpoilTraining) {
  const fs::path data = root() / "spoiled";
  fs::copy(root() / "data", data, fs::copy_options::recursive);
  const std::vector<std::string> ids = read_lines(data / "ImageSets/train.txt");
  write_label_map(data / "ScribbleLabels" / (ids[2] + ".png"),
                  {64, 64, std::vector<uint8_t>(64 * 64, kUnlabelled)}, voc_palette());
  write_file_atomically(data / "ImageSets/val.txt", [&](std::ostream& out) { out << ids[3] << '\n'; });
  Device device;
  Trainer trainer(device, config("spoiled", {"train.epoch=2", "dataset.data_root=" + data.string()}));
  testing::internal::CaptureStderr();
  trainer.run(Trainer::Start::fresh);
  const std::string log = testing::internal::GetCapturedStderr();
  for (const std::string& warning : {"1 training image has no labelled pixel: " + ids[2],
                                     std::string("1 validation image is in the training list too")}) {
    const size_t first = log.find(warning);
    EXPECT_NE(first, std::string::npos) << warning << " not in\n" << log;
    EXPECT_EQ(log.find(warning, first + 1), std::string::npos) << "said twice: " << warning;
  }
}

TEST_F(TrainerTest, AClassThatNeverOccursKeepsTheGlobalPhaseAway) {
  Device device;
  fs::copy(root() / "data", root() / "eight", fs::copy_options::recursive);
  std::ofstream(root() / "eight" / "classes.txt", std::ios::app) << "unicorn\n";
  Trainer trainer(device, config("unicorn", {"dataset.num_classes=8",
                                             "dataset.data_root=" + (root() / "eight").string()}));
  testing::internal::CaptureStderr();
  trainer.run(Trainer::Start::fresh);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("unicorn"), std::string::npos);
  EXPECT_EQ(trainer.state().phases, (std::vector<Phase>{Phase::without, Phase::local}));
  EXPECT_FALSE(trainer.last_evaluation()->plain().iou[7].has_value());
}

}  // namespace
}  // namespace scrawl
