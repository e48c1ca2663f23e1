#include "train/evaluator.h"

#include <gtest/gtest.h>

namespace scrawl {
namespace {

TEST(Evaluator, MemoryDoesNotGrowWithTheNumberOfImageSizes) {
  Device device;
  Pfa model(
      device,
      {.embed_dims = {8, 8, 8, 8}, .depths = {1, 1, 1, 1}, .heads = {1, 1, 1, 1}, .width = 8, .classes = 3});
  model.initialise(std::vector<GroupSettings>(kGroups), 0);
  const auto reserved_after = [&](int side) {
    predict_image(model, {side, side, std::vector<uint8_t>(size_t{3} * side * side, 100)});
    return device.memory().statistics().reserved;
  };
  const int64_t before = reserved_after(64);
  for (int side = 65; side < 96; ++side) EXPECT_EQ(reserved_after(side), before) << side;
}

}  // namespace
}  // namespace scrawl
