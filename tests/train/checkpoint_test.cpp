#include "train/checkpoint.h"

#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

TEST(CheckpointFile, WithSizesThatNoNetworkHasIsRefused) {
  const ModelConfig small{
      .embed_dims = {8, 8, 8, 8}, .depths = {1, 1, 1, 1}, .heads = {1, 1, 1, 1}, .width = 8, .classes = 3};
  Device device;
  Pfa model(device, small);
  model.initialise(std::vector<GroupSettings>(kGroups), 0);
  const TemporaryDirectory directory;
  const auto written = [&](const ModelConfig& config) {
    save_checkpoint(directory.path / "c.safetensors", model, {.model = config}, /*resumable=*/false);
    return directory.path / "c.safetensors";
  };
  EXPECT_EQ(Checkpoint(written(small)).info().model, small);
  for (auto spoil : {+[](ModelConfig& c) { c.heads[1] = 0; }, +[](ModelConfig& c) { c.heads[2] = 3; },
                     +[](ModelConfig& c) { c.embed_dims[0] = -8; }, +[](ModelConfig& c) { c.strides[0] = 0; },
                     +[](ModelConfig& c) { c.reductions[3] = 0; }, +[](ModelConfig& c) { c.classes = 1000; },
                     +[](ModelConfig& c) { c.width = 2000000000; }, +[](ModelConfig& c) { c.slots = 0; }}) {
    ModelConfig config = small;
    spoil(config);
    const auto path = written(config);
    expect_input_error([&] { Checkpoint{path}; }, {"c.safetensors", "damaged metadata"});
  }
}

TEST(CheckpointInfo, WithNumbersBeyondTheirTypesIsRefused) {
  TensorFile file;
  write_info(file, {.state = {.step = 7}});
  const std::string honest = file.metadata.at("checkpoint");
  const auto spoiled = [&](const std::string& from, const std::string& to) {
    const size_t at = honest.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    file.metadata["checkpoint"] = std::string(honest).replace(at, from.size(), to);
    return file;
  };
  EXPECT_EQ(read_info(spoiled("\"step\":7", "\"step\":8"), "file")->state.step, 8);
  for (const char* number : {"4294967297", "1e30", "-1e30", "-1", "-9223372036854775808"})
    expect_input_error([&] { read_info(spoiled("\"step\":7", std::string("\"step\":") + number), "file"); },
                       {"file", "damaged metadata"});
  expect_input_error([&] { read_info(spoiled("{", "{" + std::string(70000, ' ')), "file"); }, {"characters"});
}

}  // namespace
}  // namespace scrawl
