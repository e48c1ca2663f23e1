#pragma once
// For tests that run kernels by themselves: values on their way to a device and back, and a fixture.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/device.h"
#include "engine/random.h"
#include "engine/tensor.h"
#include "kernels/bf16.h"

namespace scrawl {

using Values = std::vector<float>;

inline Tensor stored(Device& device, const Shape& shape, DType dtype, const Values& values) {
  if (dtype == DType::f32) return Tensor::from(device, shape, values);
  Tensor result = Tensor::zeros(device, shape, dtype);
  std::vector<bf16> rounded(values.size());
  std::ranges::transform(values, rounded.begin(), to_bf16);
  device.upload(result.raw(), rounded.data(), 2 * static_cast<int64_t>(rounded.size()));
  return result;
}

/// Nothing of an undefined tensor.
inline Values loaded(Device& device, const Tensor& tensor) {
  if (!tensor.defined()) return {};
  if (tensor.dtype() == DType::f32) return tensor.to_host();
  std::vector<bf16> rounded(tensor.elements());
  device.download(rounded.data(), tensor.raw(), 2 * static_cast<int64_t>(rounded.size()));
  Values values(rounded.size());
  std::ranges::transform(rounded, values.begin(), to_float);
  return values;
}

/// Normal, and exact in bf16.
inline Values noise(int64_t count, uint64_t stream, float mean = 0.0f) {
  Random random(7, stream);
  Values values(count);
  for (float& value : values) value = to_float(to_bf16(mean + random.normal()));
  return values;
}

/// Unlike ==, tells 0 from −0.
inline void expect_same_bits(const Values& got, const Values& wanted, const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  int64_t wrong = 0;
  for (size_t i = 0; i < got.size(); ++i)
    if (std::bit_cast<uint32_t>(got[i]) != std::bit_cast<uint32_t>(wanted[i])) ++wrong;
  EXPECT_EQ(wrong, 0) << what << ": values of other bits, of " << got.size();
}

/// `tolerance`: of the largest value.
inline void expect_near(const Values& got, const Values& wanted, double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  double largest = 0.0;
  for (const float value : wanted) largest = std::max(largest, std::fabs(double{value}));
  int64_t wrong = 0;
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::fabs(double{got[i]} - wanted[i]) <= tolerance * largest)) ++wrong;  // NaN too
  EXPECT_EQ(wrong, 0) << what << ": values that are wrong, of " << got.size();
}

/// Of every channel: the sum, and that of the magnitudes.
inline std::pair<std::vector<double>, std::vector<double>> column_sums(const Values& map, int channels) {
  std::vector<double> sums(channels), magnitudes(channels);
  for (size_t i = 0; i < map.size(); ++i) {
    sums[i % channels] += map[i];
    magnitudes[i % channels] += std::fabs(map[i]);
  }
  return {sums, magnitudes};
}

/// For INSTANTIATE_TEST_SUITE_P.
inline std::vector<DeviceKind> devices_of_this_build() {
  std::vector<DeviceKind> kinds{DeviceKind::cpu, DeviceKind::simt, DeviceKind::cuda};
  std::erase_if(kinds, [](DeviceKind kind) { return !Device::built_with(kind); });
  return kinds;
}
inline std::vector<DType> storage_of(DeviceKind kind) {
  return kind == DeviceKind::cpu ? std::vector{DType::f32} : std::vector{DType::f32, DType::bf16};
}

/// Names of tests by their device, so that one device's can be chosen: "cuda_3".
constexpr auto by_device = []<typename Parameter>(const ::testing::TestParamInfo<Parameter>& test) {
  DeviceKind kind;
  if constexpr (std::is_same_v<Parameter, DeviceKind>)
    kind = test.param;
  else
    kind = std::get<0>(test.param);
  return fmt::format("{}_{}", name_of(kind), test.index);
};

/// The orders in which the simulator's threads take turns; elsewhere one.
inline std::vector<simt::Order> orders_of(DeviceKind kind) {
  using enum simt::Order;
  return kind == DeviceKind::simt ? std::vector{forward, shuffled, reverse} : std::vector{forward};
}

/// Cases of a kernel, Case(kind, dtype, sizes), in several sizes on every device of this build.
template <typename Case, typename Sizes>
class KernelTest : public ::testing::TestWithParam<std::tuple<DeviceKind, Sizes>> {
 protected:
  void SetUp() override {
    if (const std::string reason = Device::absence(kind()); !reason.empty()) GTEST_SKIP() << reason;
  }
  DeviceKind kind() const { return std::get<0>(this->GetParam()); }
  Sizes sizes() const { return std::get<1>(this->GetParam()); }
  template <typename Body>
  void for_each_storage(Body body) const {
    for (const DType dtype : storage_of(kind())) {
      SCOPED_TRACE(name_of(dtype));
      body(Case(kind(), dtype, sizes()));
    }
  }
};

}  // namespace scrawl
