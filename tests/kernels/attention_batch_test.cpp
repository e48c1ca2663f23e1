// Attention of so many heads that warps keep all of their keys: a case that takes the table of operations too
// long.
#include "kernels/attention.h"

#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Results {
  Values y, log_sum_exp;
};

Results attend(Device& device, DType dtype, const AttentionShape& shape, const Values& q, const Values& kv) {
  const Shape queries{shape.images, shape.queries, shape.channels()};
  const Tensor q_there = stored(device, queries, dtype, q);
  const Tensor kv_there = stored(device, {shape.images, shape.keys, 2 * shape.channels()}, dtype, kv);
  const Tensor y = Tensor::zeros(device, queries, dtype);
  const Tensor log_sum_exp = Tensor::zeros(device, {shape.images, shape.heads, shape.queries});
  device.run(AttentionForward{.dtype = dtype,
                              .shape = shape,
                              .q = q_there.raw(),
                              .kv = kv_there.raw(),
                              .y = y.raw(),
                              .log_sum_exp = log_sum_exp.data<float>()});
  return {loaded(device, y), loaded(device, log_sum_exp)};
}

Values repeated(const Values& values, int64_t times) {
  Values all;
  for (int64_t i = 0; i < times; ++i) all.insert(all.end(), values.begin(), values.end());
  return all;
}

class AttentionBatch : public ::testing::TestWithParam<DeviceKind> {
 protected:
  void SetUp() override {
    if (const std::string reason = Device::absence(GetParam()); !reason.empty()) GTEST_SKIP() << reason;
  }
};

/// What an image is alone, where warps share its keys, it is in a batch.
TEST_P(AttentionBatch, GivesWhatAnImageGives) {
  const DType dtype = GetParam() == DeviceKind::cpu ? DType::f32 : DType::bf16;
  constexpr int kImages = 150;
  for (const int size : {40, 24})
    for (const simt::Order order : orders_of(GetParam())) {
      SCOPED_TRACE(size);
      Device device({.kind = GetParam(), .guard_memory = true, .simt = {.order = order}});
      AttentionShape shape{.images = 1, .queries = 150, .keys = 75, .heads = 3, .head_size = size};
      const Values q = noise(shape.query_elements(), 0), kv = noise(shape.key_elements(), 1);
      const Results one = attend(device, dtype, shape, q, kv);
      shape.images = kImages;
      const Results all = attend(device, dtype, shape, repeated(q, kImages), repeated(kv, kImages));
      expect_near(all.y, repeated(one.y, kImages), 0x1p-8, "y");
      expect_near(all.log_sum_exp, repeated(one.log_sum_exp, kImages), 1e-6, "log_sum_exp");
    }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionBatch, ::testing::ValuesIn(devices_of_this_build()), by_device);

}  // namespace
}  // namespace scrawl
