// What the table of operations has no case of: nothing at all to look at.
#include "engine/ops.h"
#include "tests/kernels/values.h"

namespace scrawl {
namespace {

class PartialCrossEntropyKernel : public ::testing::TestWithParam<DeviceKind> {};

TEST_P(PartialCrossEntropyKernel, NoImagesHaveNoLoss) {
  if (const std::string reason = Device::absence(GetParam()); !reason.empty()) GTEST_SKIP() << reason;
  Device device({.kind = GetParam(), .threads = 2, .guard_memory = true});
  Tape tape(device, Tape::Mode::evaluate);
  const Tensor logits = Tensor::zeros(device, {0, 4, 4, 3});
  const Tensor label = Tensor::zeros(device, {0, 7, 7}, DType::u8);
  EXPECT_EQ(ops::partial_cross_entropy(tape, logits, ops::count_labelled(label)).to_host(), Values{0.0f});
  EXPECT_EQ(device.memory().damage(), "");
}

INSTANTIATE_TEST_SUITE_P(All, PartialCrossEntropyKernel, ::testing::ValuesIn(devices_of_this_build()),
                         by_device);

}  // namespace
}  // namespace scrawl
