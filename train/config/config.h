#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "model/config.h"

namespace scrawl {

struct CropSize {
  int height = 320, width = 320;
  friend bool operator==(const CropSize&, const CropSize&) = default;
};

/// How the learning rate falls, epoch by epoch: evenly to almost 0, or to a tenth after each third.
enum class LrPolicy { kLinear, kStep };

/// Everything a run needs.  The defaults are the published settings.
struct Config {
  std::string project_name;  // names the run; the configuration file's own name when not given
  uint64_t seed = 100;

  std::string backbone = "mit_b1";  // or "custom": sizes given one by one
  bool pretrained = true;           // start the encoder from pretrained_path
  ModelConfig model;
  LossWeights loss;

  std::filesystem::path data_root;  // what the next five are relative to, unless they are absolute
  std::string image_path = "JPEGImages";
  std::string label_path = "ScribbleLabels";
  std::string val_label_path;  // label_path when not given
  std::string train_data_list = "train.txt";
  std::string val_data_list;  // when not given: val.txt, or train_data_list where there is no val.txt
  int batch_size = 12;
  int num_workers = 2;
  CropSize crop;
  int ignore_label = 255;

  int prototype_epoch = 30;  // counted from 0: the first epoch that uses prototypes

  std::filesystem::path checkpoint_dir = "runs";
  std::filesystem::path pretrained_path = "weights/pretrained";  // see find_pretrained

  int epochs = 200;
  int val_every = 1;             // epochs from one validation to the next
  DType precision = DType::f32;  // of activations; weights, statistics and losses are f32 in any case

  double learning_rate = 6e-5;
  std::array<double, 2> betas{0.9, 0.999};
  double weight_decay = 0.01;
  LrPolicy lr_policy = LrPolicy::kLinear;

  /// Keys that were given but mean nothing here, each as "key (why)"; to be named once.
  std::vector<std::string> ignored;

  /// Where the run writes: checkpoint_dir/project_name.
  std::filesystem::path run_dir() const { return checkpoint_dir / project_name; }
  /// The lists of ids, relative to data_root (or absolute, when given so): they lie in its ImageSets, or in
  /// the folder itself.
  std::filesystem::path train_list() const { return list(train_data_list); }
  std::filesystem::path val_list() const { return list(val_data_list); }

 private:
  std::filesystem::path list(const std::string& name) const;
};

/// Reads a YAML file with the keys of the published code's configuration (and a few more), then applies
/// `overrides`, each "key=value" with a dotted key.  Relative paths stay relative to the current directory;
/// a leading ~ is the home directory.  Throws InputError, with file and line, for anything that is not a
/// known key, has the wrong type or cannot be trained with.
Config load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});

/// The same from text; `name` stands for the file in messages.
Config parse_config(const std::string& text, const std::string& name,
                    const std::vector<std::string>& overrides = {});

/// The effective configuration as YAML; load_config gives the same Config from it.
std::string describe(const Config& config);

}  // namespace scrawl
