#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "data/demo_set.h"
#include "train/trainer.h"

namespace scrawl {

/// A folder with a drawn data set, small enough to train on within a test, and a configuration for it.
class TinyRun : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root() = std::filesystem::temp_directory_path() / ("scrawl_run_" + std::to_string(getpid()));
    std::filesystem::remove_all(root());
    draw_demo_set(root() / "data", {.train_images = 8, .val_images = 3, .size = 64, .seed = 5});
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(root()); }

  static std::filesystem::path& root() {
    static std::filesystem::path path;
    return path;
  }

  /// Four epochs of two steps, prototypes from the third on.
  static Config config(const std::string& name, const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> all{"project_name=" + name, "work_dir.ckpt_dir=" + (root() / "runs").string(),
                                 "dataset.data_root=" + (root() / "data").string()};
    all.insert(all.end(), overrides.begin(), overrides.end());
    return parse_config(R"(
model: {backbone: custom, pretrained: false, embed_dims: [8, 16, 24, 32], depths: [1, 1, 1, 1], heads: [1, 2, 3, 4],
        decoder_embedding_dim: 16}
dataset: {val_label_path: SegmentationClass, batch_size: 4, num_classes: 7, crop_size: 64}
prototype: {global_num: 1, use_epoch: 2}
train: {epoch: 4}
optimizer: {learning_rate: 1e-3}
)",
                        "tiny.yaml", all);
  }

  /// The loss of every step of a fresh run.
  static std::vector<float> losses(const Config& config, int threads) {
    Device device({.threads = threads});
    Trainer trainer(device, config);
    std::vector<float> all;
    trainer.run(Trainer::Start::fresh, [&](const EpochSummary& summary) {
      all.insert(all.end(), summary.losses.begin(), summary.losses.end());
    });
    return all;
  }
};

}  // namespace scrawl
