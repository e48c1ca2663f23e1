#include "train/config/config.h"
#include "tests/paths.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <tuple>

#include "engine/error.h"
#include "train/config/nearest.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;
using Overrides = std::vector<std::string>;

/// A configuration file that disappears with the test.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text, const std::string& name = "run.yaml") {
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / ("config_" + std::string(test->name()));
    fs::create_directories(folder_);
    path_ = folder_ / name;
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { fs::remove_all(folder_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path folder_, path_;
};

Config load(const std::string& text, const Overrides& overrides = {}) {
  return load_config(ConfigFile(text).path(), overrides);
}

/// The message that loading ends with, without the folder of the file.
std::string error(const std::string& text, const Overrides& overrides = {}) {
  const ConfigFile file(text);
  try {
    load_config(file.path(), overrides);
  } catch (const InputError& caught) {
    std::string message = caught.what();
    const std::string folder = file.path().parent_path().string() + "/";
    if (message.starts_with(folder)) message.erase(0, folder.size());
    return message;
  }
  return "no error";
}

constexpr const char* kMinimal = "dataset:\n  data_root: voc\n";

TEST(Config, NumbersThatAFloatCannotTellFromZeroOrOneAreRefused) {
  EXPECT_NE(error(kMinimal, {"optimizer.learning_rate=1e-50"}).find("must be above 0"), std::string::npos);
  EXPECT_NE(error(kMinimal, {"optimizer.betas=0.9, 0.99999999999"}).find("below 1"), std::string::npos);
}

TEST(Config, DefaultsAreThePublishedSettings) {
  const Config config = load(kMinimal);
  EXPECT_EQ(config.project_name, "run");
  EXPECT_EQ(config.seed, 100u);
  EXPECT_EQ(config.model, backbone("mit_b1"));
  EXPECT_EQ(config.model.strides, (std::array{4, 2, 2, 1}));
  EXPECT_EQ(config.model.width, 256);
  EXPECT_EQ(config.model.classes, 21);
  EXPECT_EQ(config.model.slots, 10);
  EXPECT_FLOAT_EQ(config.model.bank_rate, 0.99f);
  EXPECT_EQ(config.crop, (CropSize{320, 320}));
  EXPECT_EQ(config.batch_size, 12);
  EXPECT_EQ(config.epochs, 200);
  EXPECT_EQ(config.prototype_epoch, 30);
  EXPECT_EQ(config.learning_rate, 6e-5);
  EXPECT_EQ(config.weight_decay, 0.01);
  EXPECT_EQ(config.lr_policy, LrPolicy::kLinear);
  EXPECT_EQ(config.train_list(), "ImageSets/train.txt");
  EXPECT_EQ(config.val_label_path, config.label_path);
  EXPECT_TRUE(config.ignored.empty());
}

// Every key of the published code's file, with the types that it uses.
TEST(Config, PublishedFileLoadsUnchanged) {
  const Config config = load(R"(
class_threshold: 100
loss: {without: 1, local: {pce_local: 1, con_local: 0.02},
       global_: {pce_global: 1, con_local: 0.01, con_global: 0.01}}
optimizer: {betas: [0.9, 0.999], learning_rate: 6e-5, lr_policy: linear, weight_decay: 0.01}
train: {epoch: 200, gpu_ids: [0]}
work_dir: {ckpt_dir: weights/checkpoints, dir: work_dir_voc, pre_weight: weights/pretrained}
prototype: {dim: 256, global_num: 10, update_rate: 0.99, use_epoch: 30}
dataset:
  data_root: /data/PFA/datasets # where the data is
  label_path: ScribbleLabels
  train_data_list: train.txt
  val_data_list: val.txt
  batch_size: 12
  num_workers: 2
  shuffle: True
  pin_memory: True
  num_classes: 21
  crop_size: 320
  ignore_label: 255
model: {backbone: mit_b1, stride: [4, 2, 2, 1], pretrained: True, encoder_embed_dim: 72,
        decoder_embedding_dim: 256}
project_name: test
)");
  EXPECT_EQ(config.model, ModelConfig{});
  EXPECT_EQ(config.data_root, "/data/PFA/datasets");
  EXPECT_EQ(config.run_dir(), "weights/checkpoints/test");
  EXPECT_EQ(config.pretrained_path, "weights/pretrained");
  EXPECT_FLOAT_EQ(config.loss.global_con_global, 0.01f);
  std::string ignored;
  for (const std::string& key : config.ignored) ignored += key.substr(0, key.find(' ')) + " ";
  EXPECT_EQ(ignored,
            "model.encoder_embed_dim dataset.shuffle dataset.pin_memory work_dir.dir train.gpu_ids "
            "class_threshold ");
}

TEST(Config, ShippedFilesLoad) {
  const fs::path folder = test_directory().parent_path() / "configs";
  const Config voc = load_config(folder / "voc.yaml");
  EXPECT_EQ(voc.model, ModelConfig{});
  EXPECT_EQ(voc.val_label_path, "SegmentationClass");
  EXPECT_TRUE(voc.ignored.empty());
  for (const char* name : {"demo.yaml", "acdc.yaml"}) {
    const Config config = load_config(folder / name);
    EXPECT_FALSE(config.pretrained) << name;
    EXPECT_GT(config.epochs, config.prototype_epoch) << name << " never reaches prototypes";
  }
}

TEST(Config, OverridesWinOverTheFile) {
  const Config config = load(
      kMinimal, {"dataset.data_root=a b=#c: d", "model.stride=(4, 2, 2, 2)", "dataset.crop_size=[96,128]",
                 "optimizer.betas=0.5,0.75", "dataset.batch_size=3", "dataset.batch_size=4"});
  EXPECT_EQ(config.data_root, "a b=#c: d");
  EXPECT_EQ(config.model.strides, (std::array{4, 2, 2, 2}));
  EXPECT_EQ(config.crop, (CropSize{96, 128}));
  EXPECT_EQ(config.betas, (std::array{0.5, 0.75}));
  EXPECT_EQ(config.batch_size, 4);
}

TEST(Config, BackboneBringsItsSizesUnlessGiven) {
  EXPECT_EQ(load(kMinimal, {"model.backbone=mit_b5"}).model.depths, (std::array{3, 6, 40, 3}));
  const Config mixed = load("model: {depths: [1, 1, 1, 1], backbone: mit_b0}\ndataset: {data_root: voc}\n");
  EXPECT_EQ(mixed.model.embed_dims, backbone("mit_b0").embed_dims);
  EXPECT_EQ(mixed.model.depths, (std::array{1, 1, 1, 1}));
  EXPECT_EQ(error(kMinimal, {"model.backbone=custom", "model.depths=1,1,1,1"}),
            "--set model.backbone=custom: model.backbone is custom, so model.embed_dims must be given too");
}

TEST(Config, PathsExpandHomeAndTakeOneFileOfWeights) {
  const Config config = load(kMinimal, {"dataset.data_root=~/voc", "work_dir.pre_weight=w/mine.safetensors"});
  EXPECT_EQ(config.data_root, fs::path(std::getenv("HOME")) / "voc");
  EXPECT_EQ(config.pretrained_path, "w/mine.safetensors");
}

auto everything(const Config& c) {
  return std::tie(c.project_name, c.seed, c.backbone, c.pretrained, c.model, c.loss.without, c.loss.local_pce,
                  c.loss.local_con, c.loss.global_pce, c.loss.global_con_local, c.loss.global_con_global,
                  c.data_root, c.image_path, c.label_path, c.val_label_path, c.train_data_list,
                  c.val_data_list, c.batch_size, c.num_workers, c.crop, c.ignore_label, c.prototype_epoch,
                  c.checkpoint_dir, c.pretrained_path, c.epochs, c.val_every, c.precision, c.learning_rate,
                  c.betas, c.weight_decay, c.lr_policy);
}

TEST(Config, EveryKeyIsReadAndDescriptionLoadsBackToTheSame) {
  const Overrides unusual{"project_name=no: 1 #x",
                          "seed=18446744073709551615",
                          "model.backbone=mit_b0",
                          "model.pretrained=false",
                          "model.embed_dims=8,16,24,32",
                          "model.depths=1,2,3,4",
                          "model.heads=2,2,2,2",
                          "model.reductions=4,4,2,2",
                          "model.stride=2,2,2,2",
                          "model.mlp_ratio=3",
                          "model.drop_path=0.3",
                          "model.dropout=0.7",
                          "model.decoder_embedding_dim=66",
                          "dataset.image_path=G",
                          "dataset.label_path=A",
                          "dataset.val_label_path=B",
                          "dataset.train_data_list=C",
                          "dataset.val_data_list=D",
                          "dataset.batch_size=7",
                          "dataset.num_workers=0",
                          "dataset.num_classes=9",
                          "dataset.crop_size=33,65",
                          "dataset.ignore_label=200",
                          "prototype.global_num=3",
                          "prototype.update_rate=0.123456789",
                          "prototype.use_epoch=5",
                          "work_dir.ckpt_dir=E",
                          "work_dir.pre_weight=F",
                          "train.epoch=11",
                          "train.val_every=2",
                          "train.precision=bf16",
                          "optimizer.learning_rate=0.1234567890123456",
                          "optimizer.betas=0.1,0.2",
                          "optimizer.weight_decay=1e-300",
                          "optimizer.lr_policy=step",
                          "loss.without=2",
                          "loss.local.pce_local=3",
                          "loss.local.con_local=4",
                          "loss.global_.pce_global=5",
                          "loss.global_.con_local=6",
                          "loss.global_.con_global=0.1"};
  Config expected;  // every key must have reached its own field
  expected.project_name = "no: 1 #x";
  expected.seed = 18446744073709551615u;
  expected.backbone = "mit_b0";
  expected.pretrained = false;
  expected.model = {.embed_dims = {8, 16, 24, 32},
                    .depths = {1, 2, 3, 4},
                    .heads = {2, 2, 2, 2},
                    .reductions = {4, 4, 2, 2},
                    .strides = {2, 2, 2, 2},
                    .mlp_ratio = 3,
                    .width = 66,
                    .classes = 9,
                    .slots = 3,
                    .bank_rate = 0.123456789f,
                    .drop_path = 0.3f,
                    .dropout = 0.7f};
  expected.loss = {.without = 2,
                   .local_pce = 3,
                   .local_con = 4,
                   .global_pce = 5,
                   .global_con_local = 6,
                   .global_con_global = 0.1f};
  expected.data_root = "voc";
  expected.image_path = "G";
  std::tie(expected.label_path, expected.val_label_path) = std::tuple("A", "B");
  std::tie(expected.train_data_list, expected.val_data_list) = std::tuple("C", "D");
  std::tie(expected.batch_size, expected.num_workers) = std::tuple(7, 0);
  expected.crop = {33, 65};
  expected.ignore_label = 200;
  expected.prototype_epoch = 5;
  std::tie(expected.checkpoint_dir, expected.pretrained_path) = std::tuple("E", "F");
  std::tie(expected.epochs, expected.val_every) = std::tuple(11, 2);
  expected.precision = DType::bf16;
  expected.learning_rate = 0.1234567890123456;
  expected.betas = {0.1, 0.2};
  expected.weight_decay = 1e-300;
  expected.lr_policy = LrPolicy::kStep;
  EXPECT_EQ(everything(load(kMinimal, unusual)), everything(expected));

  for (const Overrides& overrides : {Overrides{}, unusual}) {
    const Config config = load(kMinimal, overrides);
    const std::string text = describe(config);
    EXPECT_EQ(everything(load(text, {"project_name=" + config.project_name})), everything(config)) << text;
    EXPECT_EQ(load(text).project_name, config.project_name) << text;
  }
  // Another backbone on top of a description brings its own sizes.
  EXPECT_EQ(load(describe(load(kMinimal)), {"model.backbone=mit_b3"}).model, backbone("mit_b3"));
}

TEST(Config, UnknownKeysNameTheNearest) {
  EXPECT_EQ(error("dataset:\n  data_root: voc\n  batchsize: 3\n"),
            "run.yaml:3: unknown key 'dataset.batchsize'; did you mean 'dataset.batch_size'?");
  EXPECT_EQ(error("datset:\n  data_root: voc\n"),
            "run.yaml:1: unknown key 'datset'; did you mean 'dataset'?");
  EXPECT_EQ(error(kMinimal, {"batch_size=3"}),
            "--set batch_size=3: unknown key 'batch_size'; did you mean 'dataset.batch_size'?");
  EXPECT_EQ(error(kMinimal, {"loss.global_.con_glbal=3"}),
            "--set loss.global_.con_glbal=3: unknown key 'loss.global_.con_glbal'; did you mean "
            "'loss.global_.con_global'?");
}

TEST(Config, FilesThatAreNoConfiguration) {
  EXPECT_THROW(load_config("/nowhere/run.yaml"), InputError);
  EXPECT_EQ(error("model:\n  stride: [4, 2\ntrain: {epoch: 1}\n").substr(0, 9), "run.yaml:");
  EXPECT_NE(error("model:\n  stride: [4, 2\ntrain: {epoch: 1}\n").find("not valid YAML"), std::string::npos);
  EXPECT_EQ(error("just words\n"), "run.yaml: expected a configuration (key: value), found none");
  EXPECT_EQ(error("").substr(0, 9), "run.yaml:");
  EXPECT_EQ(error("? [a, b]\n: c\n"), "run.yaml:1: expected a key, got a list or a group");
  EXPECT_EQ(error("seed: 1\nseed: 2\n"), "run.yaml:2: seed is given twice");
  EXPECT_EQ(error("model: 3\n"), "run.yaml:1: 'model' is a group of keys, not a key");
  EXPECT_EQ(error(kMinimal, {"seed"}), "--set seed: expected key=value");
  EXPECT_EQ(error("model:\n"),
            "run.yaml: dataset.data_root is missing: the folder that holds the images, labels and lists");
}

TEST(Config, RefusesWhatIsTooLargeForAConfiguration) {
  const auto refused = [](const std::string& text, const std::string& why) {
    try {
      load(text);
      ADD_FAILURE() << "expected an InputError: " << why;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  };
  std::string list = "train: {gpu_ids: [0";
  for (int i = 0; i < 3000; ++i) list += ",1";
  refused(list + "]}", "more lists, groups and keys");
  refused(std::string(3000, '['), "more lists, groups and keys");
  refused("#" + std::string(100000, ' '), "at most 65536 characters");
}

TEST(Config, WrongTypesSayKeyExpectedAndGot) {
  const auto message = [](const char* given) {
    return error("dataset:\n  data_root: voc\n" + std::string(given));
  };
  EXPECT_EQ(message("  batch_size: many\n"),
            "run.yaml:3: dataset.batch_size: expected an integer, got 'many'");
  EXPECT_EQ(message("  batch_size: 1.5\n"), "run.yaml:3: dataset.batch_size: expected an integer, got '1.5'");
  EXPECT_EQ(message("  batch_size: 99999999999\n"),
            "run.yaml:3: dataset.batch_size: expected an integer, got '99999999999'");
  EXPECT_EQ(message("  batch_size:\n"), "run.yaml:3: dataset.batch_size: expected an integer, got nothing");
  EXPECT_EQ(message("  crop_size: [1, 2, 3]\n"),
            "run.yaml:3: dataset.crop_size: expected an integer or [height, width], got [1, 2, 3]");
  EXPECT_EQ(message("  label_path: [a]\n"), "run.yaml:3: dataset.label_path: expected a name, got [a]");
  EXPECT_EQ(message("model: {stride: [4, 2, 2]}\n"),
            "run.yaml:3: model.stride: expected 4 integers, one a stage, got [4, 2, 2]");
  EXPECT_EQ(message("model: {pretrained: perhaps}\n"),
            "run.yaml:3: model.pretrained: expected true or false, got 'perhaps'");
  EXPECT_EQ(message("seed: -1\n"), "run.yaml:3: seed: expected an integer of at least 0, got '-1'");
  EXPECT_EQ(message("optimizer: {learning_rate: nan}\n"),
            "run.yaml:3: optimizer.learning_rate: expected a number, got 'nan'");
  EXPECT_EQ(message("optimizer: {betas: {a: 1}}\n"),
            "run.yaml:3: optimizer.betas: expected 2 numbers, got a group of keys");
  EXPECT_EQ(message("optimizer: {lr_policy: cosine}\n"),
            "run.yaml:3: optimizer.lr_policy: expected linear or step, got 'cosine'");
  EXPECT_EQ(message("train: {precision: fp16}\n"),
            "run.yaml:3: train.precision: expected fp32 or bf16, got 'fp16'");
}

TEST(Config, ValuesThatCannotBeTrainedWith) {
  const auto message = [](const std::string& given) {
    const std::string text = error(kMinimal, {given});
    const std::string start = "--set " + given + ": ";
    return text.starts_with(start) ? text.substr(start.size()) : text;
  };
  EXPECT_EQ(message("dataset.num_classes=0"),
            "dataset.num_classes must be between 2 (background and one more) and 255, got '0'");
  EXPECT_EQ(message("dataset.num_classes=256"),
            "dataset.num_classes must be between 2 (background and one more) and 255, got '256'");
  EXPECT_EQ(message("dataset.batch_size=0"), "dataset.batch_size must be at least 1, got '0'");
  EXPECT_EQ(message("train.epoch=-1"), "train.epoch must be at least 1, got '-1'");
  EXPECT_EQ(message("prototype.update_rate=1.01"),
            "prototype.update_rate must be between 0 and 1, got '1.01'");
  EXPECT_EQ(message("model.dropout=1"), "model.dropout must be at least 0 and below 1, got '1'");
  EXPECT_EQ(message("optimizer.betas=0.9,1"), "optimizer.betas must be at least 0 and below 1, got '0.9,1'");
  EXPECT_EQ(message("optimizer.learning_rate=0"), "optimizer.learning_rate must be above 0, got '0'");
  EXPECT_EQ(message("dataset.crop_size=28"),
            "dataset.crop_size is 28x28, the network's strides and reductions need at least 29");
  EXPECT_EQ(message("dataset.crop_size=29"), "no error");
  EXPECT_EQ(message("dataset.ignore_label=20"), "dataset.ignore_label is 20, which is one of the 21 classes");
  EXPECT_EQ(message("model.heads=1,2,3,8"),
            "stage 3 has 320 channels, which 3 heads do not divide (model.embed_dims, model.heads)");
  EXPECT_EQ(message("model.decoder_embedding_dim=65"), "model.decoder_embedding_dim must be even, got 65");
  EXPECT_EQ(message("prototype.dim=128"),
            "prototype.dim is 128 but model.decoder_embedding_dim is 256; they must be equal");
  EXPECT_EQ(
      message("model.backbone=resnet"),
      "unknown backbone 'resnet': expected mit_b0, mit_b1, mit_b2, mit_b3, mit_b4 or mit_b5, or custom");
}

TEST(Nearest, CountsEditsOfTheWholeKeyOrItsLastPart) {
  const std::vector<std::string> known{"train.epoch", "dataset.crop_size", "loss.local.con_local",
                                       "loss.global_.con_local"};
  EXPECT_EQ(nearest("epochs", known), "train.epoch");
  EXPECT_EQ(nearest("model.crop_sise", known), "dataset.crop_size");
  EXPECT_EQ(nearest("loss.global.con_local", known), "loss.global_.con_local");
  EXPECT_EQ(nearest("", known), "train.epoch");
}

}  // namespace
}  // namespace scrawl
