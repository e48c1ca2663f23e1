// Prototype attention of so many images that a block walks over several chunks of an image: a case that takes
// the table of operations too long.
#include "kernels/prototype_attention.h"

#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Results {
  Values y, log_sum_exp, dq, dp;
};

Results attend(Device& device, DType dtype, const PrototypeAttentionShape& shape, const Values& q,
               const Values& p, const Values& dy) {
  const Shape queries{shape.images, shape.positions, shape.size}, maps = queries.with_last(2 * shape.size);
  const Shape prototypes{shape.prototype_sets, shape.prototypes(), shape.size};
  const Tensor q_there = stored(device, queries, dtype, q), p_there = stored(device, prototypes, dtype, p);
  const Tensor dy_there = stored(device, maps, dtype, dy);
  const Tensor present = Tensor::zeros(device, {shape.images, shape.classes}, DType::u8);
  const std::vector<uint8_t> ones(present.elements(), 1);
  device.upload(present.raw(), ones.data(), present.elements());
  const Tensor y = Tensor::zeros(device, maps, dtype), dq = Tensor::zeros(device, queries, dtype);
  const Tensor log_sum_exp = Tensor::zeros(device, {shape.images, shape.positions});
  const Tensor dp = Tensor::zeros(device, prototypes, dtype);
  device.run(PrototypeAttentionForward{.dtype = dtype,
                                       .shape = shape,
                                       .q = q_there.raw(),
                                       .p = p_there.raw(),
                                       .present = present.data<uint8_t>(),
                                       .y = y.raw(),
                                       .log_sum_exp = log_sum_exp.data<float>()});
  device.run(PrototypeAttentionBackward{.dtype = dtype,
                                        .shape = shape,
                                        .p = p_there.raw(),
                                        .present = present.data<uint8_t>(),
                                        .y = y.raw(),
                                        .log_sum_exp = log_sum_exp.data<float>(),
                                        .dy = dy_there.raw(),
                                        .dq = dq.raw(),
                                        .dp = dp.raw()});
  return {loaded(device, y), loaded(device, log_sum_exp), loaded(device, dq), loaded(device, dp)};
}

Values repeated(const Values& values, int64_t times) {
  Values all;
  for (int64_t i = 0; i < times; ++i) all.insert(all.end(), values.begin(), values.end());
  return all;
}

class PrototypeAttentionBatch : public ::testing::TestWithParam<DeviceKind> {
 protected:
  void SetUp() override {
    if (const std::string reason = Device::absence(GetParam()); !reason.empty()) GTEST_SKIP() << reason;
  }

  /// What an image is alone, where a block takes one chunk, it is in a batch.
  void expect_the_same(PrototypeAttentionShape shape, bool bank,
                       const std::vector<simt::Order>& orders = orders_of(GetParam())) const {
    constexpr int kImages = 200;
    const DType dtype = GetParam() == DeviceKind::cpu ? DType::f32 : DType::bf16;
    shape.images = shape.prototype_sets = 1;
    const int64_t keys = shape.prototypes();
    // Smaller scores, so that all keys count.
    Values q = noise(shape.query_elements(), 0), p = noise(keys * shape.size, 1);
    for (float& value : q) value *= 0.125f;
    const Values dy = noise(2 * shape.query_elements(), 2);
    for (const simt::Order order : orders) {
      Device device({.kind = GetParam(), .guard_memory = true, .simt = {.order = order}});
      PrototypeAttentionShape all_shape = shape;
      all_shape.images = kImages;
      if (!bank) all_shape.prototype_sets = kImages;
      const Results one = attend(device, dtype, shape, q, p, dy);
      const Results all = attend(device, dtype, all_shape, repeated(q, kImages),
                                 repeated(p, all_shape.prototype_sets), repeated(dy, kImages));
      expect_same_bits(all.y, repeated(one.y, kImages), "y");
      expect_same_bits(all.log_sum_exp, repeated(one.log_sum_exp, kImages), "log_sum_exp");
      expect_same_bits(all.dq, repeated(one.dq, kImages), "dq");
      Values dp = one.dp;
      if (bank)
        for (float& value : dp) value *= kImages;
      expect_near(all.dp, repeated(dp, all_shape.prototype_sets), 0x1p-7, "dp");  // both are rounded
    }
  }
};

TEST_P(PrototypeAttentionBatch, GivesWhatAnImageGives) {
  expect_the_same({.positions = 130, .size = 128, .classes = 3, .slots = 1}, false);
}
TEST_P(PrototypeAttentionBatch, GivesWhatAnImageGivesWithABank) {
  expect_the_same({.positions = 130, .size = 128, .classes = 4, .slots = 10}, true, {simt::Order::shuffled});
}
TEST_P(PrototypeAttentionBatch, GivesWhatAnImageGivesWithManyKeys) {
  expect_the_same({.positions = 65, .size = 128, .classes = 7, .slots = 10}, true, {simt::Order::shuffled});
}

INSTANTIATE_TEST_SUITE_P(All, PrototypeAttentionBatch, ::testing::ValuesIn(devices_of_this_build()),
                         by_device);

}  // namespace
}  // namespace scrawl
