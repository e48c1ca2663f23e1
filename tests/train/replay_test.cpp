// Recorded runs of the published code, trained again.
#include "train/replay.h"
#include "tests/paths.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/error.h"
#include "engine/safetensors.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = test_directory() / "goldens";

class RecordedRun : public testing::TestWithParam<const char*> {};

void expect_reproduced(Device& device, const char* name, DType storage = DType::f32) {
  const ReplayResult result = replay(device, kGoldens / name, storage);
  for (const ReplayRow& row : result.rows)
    EXPECT_LE(row.worst, row.limit) << row.quantity << ", worst in " << row.where;
  for (const std::string& error : result.phase_errors) ADD_FAILURE() << error;
  EXPECT_TRUE(result.passed());
  EXPECT_EQ(device.memory().damage(), "");
}

TEST_P(RecordedRun, IsReproduced) {
  Device device({.guard_memory = true});
  expect_reproduced(device, GetParam());
}

#ifdef SCRAWL_SIMT
TEST_P(RecordedRun, IsReproducedByTheKernelsOfTheGpu) {
  Device device(
      {.kind = DeviceKind::simt, .guard_memory = true, .simt = {.order = simt::Order::shuffled, .seed = 3}});
  expect_reproduced(device, GetParam());
}

TEST_P(RecordedRun, IsReproducedInBf16) {
  Device device({.kind = DeviceKind::simt, .guard_memory = true});
  expect_reproduced(device, GetParam(), DType::bf16);
}
#endif

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedRun, testing::Values("tiny", "deep", "odd_sizes"),
                         [](const auto& test) { return std::string(test.param); });

/// A copy of a recorded run that a test may spoil.
class SpoiledRun : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("scrawl_replay_" + std::to_string(getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    for (const auto& file : fs::directory_iterator(kGoldens / "tiny")) fs::copy(file, dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path dir_;
};

TEST_F(SpoiledRun, AChangedNumberFails) {
  TensorFile record = read_safetensors(dir_ / "record.safetensors");
  HostTensor& bank = record.tensors.at("step7.bank");
  std::vector<float> values = bank.floats();
  values[5] += 0.01f;
  bank = HostTensor::of(bank.shape, values);
  write_safetensors(dir_ / "record.safetensors", record);
  Device device;
  const ReplayResult result = replay(device, dir_);
  EXPECT_FALSE(result.passed());
  for (const ReplayRow& row : result.rows) {
    EXPECT_EQ(row.passed(), row.quantity != "bank") << row.quantity;
    if (!row.passed()) {
      EXPECT_EQ(row.where, "step7.bank");
    }
  }
}

TEST_F(SpoiledRun, AnotherPhaseFails) {
  std::ifstream in(dir_ / "case.json");
  std::string text(std::istreambuf_iterator<char>(in), {});
  text.replace(text.find("\"local\""), 7, "\"global\"");
  std::ofstream(dir_ / "case.json") << text;
  Device device;
  const ReplayResult result = replay(device, dir_);
  EXPECT_EQ(result.phase_errors.size(), 1u);
  EXPECT_FALSE(result.passed());
}

TEST_F(SpoiledRun, MissingAndForeignFilesAreNamed) {
  Device device;
  EXPECT_THROW(replay(device, dir_ / "nowhere"), InputError);
  fs::remove(dir_ / "init.safetensors");
  EXPECT_THROW(replay(device, dir_), InputError);
  std::ofstream(dir_ / "case.json") << "{}";
  EXPECT_THROW(replay(device, dir_), InputError);
}

TEST_F(SpoiledRun, PartsThatDoNotFitTogetherAreNamed) {
  const TensorFile record = read_safetensors(dir_ / "record.safetensors");
  const auto refusal = [&](const char* name, const HostTensor& tensor) -> std::string {
    TensorFile spoiled = record;
    spoiled.tensors.at(name) = tensor;
    write_safetensors(dir_ / "record.safetensors", spoiled);
    Device device;
    try {
      replay(device, dir_);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  const HostTensor &label = record.at("step0.label"), &present = record.at("step0.present");
  std::vector<int64_t> labels = label.integers();
  labels[7] = 200;
  EXPECT_NE(refusal("step0.label", HostTensor::of(label.shape, labels)).find("'step0.label' holds 200"),
            std::string::npos);
  EXPECT_NE(refusal("step0.label", present).find("'step0.label' has shape"), std::string::npos);
  EXPECT_NE(refusal("step0.present", label).find("'step0.present' has shape"), std::string::npos);
  EXPECT_NE(refusal("step0.image", label).find("'step0.image' has shape"), std::string::npos);
}

TEST_F(SpoiledRun, AMapOfAnotherSizeFails) {
  TensorFile record = read_safetensors(dir_ / "record.safetensors");
  record.tensors.at("step0.feat") = HostTensor::of({1, 64, 100, 100}, std::vector<float>(640000, 1.0f));
  write_safetensors(dir_ / "record.safetensors", record);
  Device device;
  EXPECT_FALSE(replay(device, dir_).passed());
}

TEST_F(SpoiledRun, SizesThatNoNetworkHasAreRefused) {
  std::ifstream in(dir_ / "case.json");
  std::string text(std::istreambuf_iterator<char>(in), {});
  const size_t heads = text.find('[', text.find("\"heads\""));
  text.replace(heads, text.find(']', heads) + 1 - heads, "[0, 1, 1, 1]");
  std::ofstream(dir_ / "case.json") << text;
  Device device;
  EXPECT_THROW(replay(device, dir_), InputError);
}

}  // namespace
}  // namespace scrawl
