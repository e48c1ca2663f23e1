// Weights of others.  tests/fixtures/segformer holds one small model as PyTorch and transformers wrote it,
// and the logits that they compute; its norms see values so small that their eps shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/files.h"
#include "engine/safetensors.h"
#include "engine/torch_file.h"
#include "tests/data/temporary_directory.h"
#include "tests/paths.h"
#include "tests/worst.h"
#include "train/checkpoint.h"
#include "train/weights/exports.h"
#include "train/weights/load.h"
#include "train/weights/source_model.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

const fs::path kModels = fixture("segformer");

/// Of the recorded model; strides end on 1.
const ModelConfig kSizes{.embed_dims = {4, 8, 10, 16}, .depths = {1, 2, 1, 1}, .width = 8, .classes = 3};

class Weights : public testing::Test {
 protected:
  Weights() { model_.initialise(std::vector<GroupSettings>(kGroups), 0); }

  /// The largest difference of the model's logits from those recorded under `name`.
  double error(const std::string& name) {
    const TensorFile record = read_safetensors(kModels / "record.safetensors");
    const HostTensor &image = record.at("image"), &want = record.at(name);
    Tape tape(device_, Tape::Mode::evaluate);
    const Tensor logits = model_.predict(tape, channels_last(image)).logits;
    const std::vector<float> got = logits.to_host(), expected = want.floats();
    const int64_t classes = want.shape[1], pixels = want.shape[2] * want.shape[3];
    EXPECT_EQ(logits.elements(), want.elements());
    double worst = 0.0;
    for (int64_t k = 0; k < classes; ++k)
      for (int64_t p = 0; p < pixels; ++p)
        worst = worse(worst, std::fabs(double{got[p * classes + k]} - expected[k * pixels + p]));
    return worst;
  }

  /// One image of PyTorch's N,C,H,W.
  Tensor channels_last(const HostTensor& image) {
    const std::vector<float> values = image.floats();
    const int64_t channels = image.shape[1], pixels = image.shape[2] * image.shape[3];
    std::vector<float> out(values.size());
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < pixels; ++p) out[p * channels + c] = values[c * pixels + p];
    return Tensor::from(device_, {1, image.shape[2], image.shape[3], channels}, out);
  }

  /// What the log says while the encoder is loaded.
  std::string load_encoder(const fs::path& path) {
    testing::internal::CaptureStderr();
    load_pretrained_encoder(model_, path);
    return testing::internal::GetCapturedStderr();
  }

  std::vector<float> values(const std::string& name) {
    return model_.parameters().find(name).value.to_host();
  }

  const TemporaryDirectory directory_;
  Device device_{{.threads = 2, .guard_memory = true}};
  Pfa model_{device_, kSizes};
};

constexpr double kRounding = 2e-6;  // of logits of size 0.3

TEST_F(Weights, PublishedModelsGiveTheirLogits) {
  const Checkpoint checkpoint(kModels / "published.pth");
  EXPECT_EQ(checkpoint.info().model, kSizes);
  EXPECT_TRUE(checkpoint.has_feature_augmentation());
  EXPECT_FALSE(checkpoint.has_bank());
  EXPECT_FALSE(checkpoint.knows_heads_and_strides());
  checkpoint.load(model_);
  EXPECT_LT(error("published_logits"), kRounding);
}

TEST_F(Weights, HuggingFacesModelsGiveTheirLogits) {
  for (const fs::path& path : {kModels / "huggingface", kModels / "huggingface" / "model.safetensors"}) {
    const Checkpoint checkpoint(path);
    EXPECT_EQ(checkpoint.info().model.strides, kSizes.strides);
    EXPECT_EQ(checkpoint.info().classes.names, (std::vector<std::string>{"background", "cat", "dog"}));
    EXPECT_FALSE(checkpoint.has_feature_augmentation());
    checkpoint.load(model_);
    EXPECT_LT(error("huggingface_logits"), kRounding);
    EXPECT_GT(error("published_logits"), 1e-2) << "the fixture's eps should show";
  }
}

TEST_F(Weights, EncodersAreFoundBelowAnyPrefixAndInHalfPrecision) {
  const std::string log = load_encoder(kModels / "encoder_half_legacy.pth");
  for (const char* part :
       {"encoder_half_legacy.pth", "published names", "'state_dict.module.backbone.'", "120 tensors loaded",
        "eps 1e-06 in blocks, 1e-05 elsewhere",
        "skipped 2: state_dict.module.head.bias, state_dict.module.head.weight\n", "missing none\n"})
    EXPECT_NE(log.find(part), std::string::npos) << part << " is not in\n" << log;
  EXPECT_EQ(log.find("warning"), std::string::npos) << log;
  Pfa want(device_, kSizes);
  want.initialise(std::vector<GroupSettings>(kGroups), 0);
  Checkpoint(kModels / "published.pth").load(want);
  for (const Parameter& parameter : want.parameters().all()) {
    if (!parameter.name.starts_with("encoder.")) continue;
    const std::vector<float> exact = parameter.value.to_host(), got = values(parameter.name);
    for (size_t i = 0; i < exact.size(); ++i)
      ASSERT_NEAR(got[i], exact[i], std::fabs(exact[i]) / 2048 + 3e-8) << parameter.name;
  }
}

TEST_F(Weights, EncodersOfEveryKindAreTheSame) {
  load_encoder(kModels / "published.pth");
  const std::vector<float> kv = values("encoder.block2.1.attn.kv.weight"),
                           norm = values("encoder.norm4.bias");
  EXPECT_EQ(model_.config().block_norm_eps, 1e-6f);

  const std::string log = load_encoder(kModels / "huggingface");
  for (const char* part : {"Hugging Face's names below 'segformer.encoder.'", "120 tensors loaded",
                           "skipped 16: decode_head.batch_norm.bias", "eps 1e-05 in blocks, 1e-05 elsewhere"})
    EXPECT_NE(log.find(part), std::string::npos) << part << " is not in\n" << log;
  EXPECT_EQ(values("encoder.block2.1.attn.kv.weight"), kv);
  EXPECT_EQ(values("encoder.norm4.bias"), norm);
  EXPECT_EQ(model_.config().block_norm_eps, 1e-5f);

  // Without the rest of the model, as SegformerModel saves it, and in PyTorch's format.
  TensorFile bare;
  const std::string whole = "segformer.";
  for (const auto& [name, tensor] : read_safetensors(kModels / "huggingface" / "model.safetensors").tensors)
    if (name.starts_with(whole)) bare.tensors[name.substr(whole.size())] = tensor;
  write_torch_file(directory_.path / "pytorch_model.bin", bare);
  load_encoder(directory_.path);
  EXPECT_EQ(values("encoder.block2.1.attn.kv.weight"), kv);
  expect_input_error([&] { Checkpoint{directory_.path}; }, {"pytorch_model.bin", "encoder alone"});

  // A checkpoint of ours, with the eps that it was trained with.
  model_.set_norm_eps(3e-6f, 2e-5f);
  save_checkpoint(directory_.path / "ours.safetensors", model_, {.model = model_.config()}, true);
  Pfa other(device_, kSizes);
  other.initialise(std::vector<GroupSettings>(kGroups), 1);
  load_pretrained_encoder(other, directory_.path / "ours.safetensors");
  EXPECT_EQ(other.parameters().find("encoder.block2.1.attn.kv.weight").value.to_host(), kv);
  EXPECT_EQ(other.config().block_norm_eps, 3e-6f);
  EXPECT_EQ(other.config().other_norm_eps, 2e-5f);
}

TEST_F(Weights, AShorterPrefixWinsOverAverages) {
  TensorFile both;
  for (const auto& [name, tensor] : read_torch_file(kModels / "published.pth").tensors) {
    both.tensors["model." + name] = tensor;
    both.tensors["averaged." + name] =
        HostTensor::of(tensor.shape, std::vector<float>(tensor.elements(), 7.0f));
  }
  write_safetensors(directory_.path / "both.safetensors", both);
  EXPECT_NE(load_encoder(directory_.path / "both.safetensors").find("below 'model.encoder.'"),
            std::string::npos);
  EXPECT_NE(values("encoder.norm4.weight")[0], 7.0f);
}

TEST_F(Weights, AnotherShapeIsNamedWithBothAndChangesNothing) {
  const std::vector<float> before = values("encoder.patch_embed1.proj.weight");
  const auto spoil = [&](const fs::path& path, const std::string& name, std::vector<int64_t> shape) {
    TensorFile file = read_tensor_file(path);
    file.tensors.at(name) = HostTensor::of(shape, std::vector<float>(file.at(name).elements()));
    write_safetensors(directory_.path / "spoiled.safetensors", file);
    return directory_.path / "spoiled.safetensors";
  };
  expect_input_error(
      [&] {
        load_encoder(spoil(kModels / "published.pth", "encoder.norm4.bias", {2, 8}));
      },
      {"spoiled.safetensors", "'encoder.norm4.bias' has shape [2, 8], this model expects [16]"});
  testing::internal::GetCapturedStderr();
  const std::string key = "segformer.encoder.block.2.0.attention.self.key.weight";
  expect_input_error(
      [&] {
        load_encoder(spoil(kModels / "huggingface/model.safetensors", key, {20, 5}));
      },
      {"'" + key + "' has shape [20, 5], this model expects [10, 10]"});
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(values("encoder.patch_embed1.proj.weight"), before);
}

TEST_F(Weights, AnotherDepthIsWarnedOf) {
  ModelConfig deeper = kSizes, shallower = kSizes;
  deeper.depths = {2, 2, 1, 1};
  shallower.depths = {1, 1, 1, 1};
  for (const ModelConfig& config : {deeper, shallower}) {
    Pfa model(device_, config);
    model.initialise(std::vector<GroupSettings>(kGroups), 0);
    testing::internal::CaptureStderr();
    load_pretrained_encoder(model, kModels / "published.pth");
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_NE(log.find("warning"), std::string::npos) << log;
    EXPECT_EQ(log.find("missing none") == std::string::npos, config == deeper) << log;
  }
  expect_input_error(
      [&] {
        Pfa model(device_, deeper);
        model.initialise(std::vector<GroupSettings>(kGroups), 0);
        Checkpoint(kModels / "published.pth").load(model);
      },
      {"another model", "depths [1,2,1,1]", "[2,2,1,1]"});
}

TEST_F(Weights, FilesWithoutSuchAModelAreRefused) {
  expect_input_error([] { WeightFile{fixture("torch_values.pth")}; },
                     {"torch_values.pth", "patch_embed1.proj.weight", "41 tensors"});
  expect_input_error([&] { WeightFile{directory_.path}; }, {"model.safetensors"});
  fs::copy(kModels / "huggingface", directory_.path / "hf");
  const std::string config = read_file(directory_.path / "hf" / "config.json");
  for (const auto& [from, to] :
       std::initializer_list<std::pair<std::string, std::string>>{{"\"segformer\"", "\"bert\""},
                                                                  {"\"gelu\"", "\"relu\""},
                                                                  {"{", "["},
                                                                  {"\"1\": \"cat\"", "\"7\": \"cat\""}}) {
    std::string spoiled = config;
    spoiled.replace(spoiled.find(from), from.size(), to);
    write_bytes(directory_.path / "hf" / "config.json", spoiled);
    expect_input_error([&] { WeightFile{directory_.path / "hf"}; }, {"config.json"});
  }
}

TEST_F(Weights, SegformersOwnDecoderMeansItsOwnStrides) {
  TensorFile file;
  for (const auto& [name, tensor] : read_torch_file(kModels / "published.pth").tensors) {
    std::string renamed = name;
    if (name.starts_with("encoder.")) renamed.replace(0, 8, "backbone.");
    if (name.starts_with("decoder.")) renamed.replace(0, 8, "decode_head.");
    file.tensors["state_dict." + renamed] = tensor;
  }
  write_torch_file(directory_.path / "mm.pth", file);
  EXPECT_EQ(Checkpoint(directory_.path / "mm.pth").info().model.strides, kSegformerStrides);
}

TEST_F(Weights, AreFoundUnderTheBackbonesName) {
  const auto touch = [&](const char* name) { write_bytes(directory_.path / name, ""); };
  expect_input_error([&] { find_pretrained(directory_.path, "mit_b1"); }, {"mit_b1.pth", "no such file"});
  expect_input_error([&] { find_pretrained(directory_.path / "a.pth", "mit_b1"); }, {"a.pth: no such file"});
  touch("mit_b1/config.json");
  EXPECT_EQ(find_pretrained(directory_.path, "mit_b1"), directory_.path / "mit_b1");
  EXPECT_EQ(find_pretrained(directory_.path / "mit_b1", "mit_b5"), directory_.path / "mit_b1");
  touch("mit_b1.safetensors");
  EXPECT_EQ(find_pretrained(directory_.path, "mit_b1"), directory_.path / "mit_b1.safetensors");
  touch("mit_b1.pth");
  EXPECT_EQ(find_pretrained(directory_.path, "mit_b1"), directory_.path / "mit_b1.pth");
  EXPECT_EQ(find_pretrained(directory_.path / "mit_b1.safetensors", "mit_b5"),
            directory_.path / "mit_b1.safetensors");
}

class Exports : public Weights {
 protected:
  Exports() {
    Checkpoint(kModels / "published.pth").load(model_);
    info_ = {
        .model = model_.config(), .classes = {.names = {"background", "cat", "dog"}}, .state = {.step = 7}};
  }
  CheckpointInfo info_;
};

/// Both files hold the same tensors; metadata may differ.
void expect_same_tensors(const TensorFile& got, const TensorFile& want) {
  for (const auto& [name, tensor] : got.tensors)
    EXPECT_TRUE(want.contains(name)) << name << " is superfluous";
  for (const auto& [name, tensor] : want.tensors) {
    ASSERT_TRUE(got.contains(name)) << name << " is missing";
    EXPECT_EQ(got.at(name).dtype, tensor.dtype) << name;
    EXPECT_EQ(got.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(got.at(name).bytes, tensor.bytes) << name;
  }
}

TEST_F(Exports, HoldWhatPyTorchWrote) {
  const TensorFile want = read_torch_file(kModels / "published.pth");
  for (const char* name : {"a.pth", "a.safetensors"}) {
    export_published(directory_.path / name, {model_, info_});
    expect_same_tensors(read_tensor_file(directory_.path / name), want);
    const Checkpoint back(directory_.path / name);
    EXPECT_EQ(back.info().model, model_.config());
    EXPECT_EQ(back.info().classes.names, info_.classes.names);
  }
  expect_input_error(
      [&] {
        export_published(directory_.path / "a.txt", {model_, info_});
      },
      {"a.txt", ".pth"});
}

TEST_F(Exports, HoldWhatTransformersWrote) {
  export_hugging_face(directory_.path / "hf", {model_, info_});
  expect_same_tensors(read_safetensors(directory_.path / "hf" / "model.safetensors"),
                      read_safetensors(kModels / "huggingface" / "model.safetensors"));
  const auto config = read_hugging_face_config(directory_.path / "hf");
  EXPECT_EQ(config->heads, kSizes.heads);
  EXPECT_EQ(config->strides, kSizes.strides);
  EXPECT_EQ(config->class_names, info_.classes.names);
  EXPECT_NE(read_file(directory_.path / "hf" / "preprocessor_config.json").find("0.485"), std::string::npos);
}

TEST_F(Exports, LeaveOutWhatTheCheckpointDoesNotHave) {
  const fs::path path = directory_.path / "plain.safetensors";
  export_checkpoint(path, {model_, info_, /*feature_augmentation=*/false, /*bank=*/false});
  const Checkpoint plain(path);
  EXPECT_FALSE(plain.has_feature_augmentation());
  EXPECT_FALSE(plain.has_bank());
  plain.load(model_);
  EXPECT_LT(error("published_logits"), kRounding);
  export_checkpoint(path, {model_, info_});
  EXPECT_TRUE(Checkpoint(path).has_bank());
  EXPECT_THROW(Checkpoint(path).load_optimizer(model_), InputError);
}

}  // namespace
}  // namespace scrawl
