// Matrix fragments: a layout that is wrong anywhere gives a wrong product.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "kernels/cuda/device/bf16.cuh"
#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "tests/kernels/simt/broken.h"

namespace scrawl::simt {
namespace {

constexpr int kStride = 24;

/// Fills fragments value by value, as the table of the PTX ISA says.
void product_by_hand(const bf16* a, const bf16* b, float* d) {
  const int group = lane_index() / 4, member = lane_index() % 4;
  const auto a_pair = [&](int row, int column) {
    return a[16 * row + column].bits | unsigned{a[16 * row + column + 1].bits} << 16;
  };
  const auto b_pair = [&](int row, int column) {
    return b[8 * row + column].bits | unsigned{b[8 * row + 8 + column].bits} << 16;
  };
  const FragmentA fa = {a_pair(group, 2 * member), a_pair(group + 8, 2 * member),
                        a_pair(group, 2 * member + 8), a_pair(group + 8, 2 * member + 8)};
  const FragmentB fb = {b_pair(2 * member, group), b_pair(2 * member + 8, group)};
  FragmentD fd;
  for (int i = 0; i < 4; ++i) fd.values[i] = 1000.0f * i;
  mma(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[8 * FragmentD::row(i) + FragmentD::column(i)] = fd.values[i] - 1000.0f * i;
}

template <bool b_is_transposed>
void product_from_shared(const bf16* a, const bf16* b, float* d) {
  auto& tile_a = shared<bf16[16][kStride], struct TileA>();
  auto& tile_b = shared<bf16[16][kStride], struct TileB>();
  for (int i = lane_index(); i < 256; i += 32) tile_a[i / 16][i % 16] = a[i];
  for (int i = lane_index(); i < 128; i += 32)
    (b_is_transposed ? tile_b[i % 8][i / 8] : tile_b[i / 8][i % 8]) = b[i];
  __syncwarp();
  FragmentD fd;
  mma(fd, load_a(tile_a[0], kStride),
      b_is_transposed ? load_b_transposed(tile_b[0], kStride) : load_b(tile_b[0], kStride));
  for (int i = 0; i < 4; ++i) d[8 * FragmentD::row(i) + FragmentD::column(i)] = fd.values[i];
}

class SimtMma : public testing::TestWithParam<void (*)(const bf16*, const bf16*, float*)> {};

TEST_P(SimtMma, MultipliesMatrices) {
  std::vector<bf16> a(16 * 16), b(16 * 8);
  std::vector<float> wanted(16 * 8);
  for (int i = 0; i < 256; ++i) a[i] = to_bf16(static_cast<float>(i * 37 % 101 - 50));
  for (int i = 0; i < 128; ++i) b[i] = to_bf16(static_cast<float>(i * 53 % 97 - 48));
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c)
      for (int k = 0; k < 16; ++k) wanted[8 * r + c] += to_float(a[16 * r + k]) * to_float(b[8 * k + c]);
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<float> d(16 * 8);
    launch(queue, {.name = "mma", .grid = {}, .block = {32}}, GetParam(), a.data(), b.data(), d.data());
    EXPECT_EQ(d, wanted);  // integers: exact
  }
}

std::string name_of_product(const testing::TestParamInfo<SimtMma::ParamType>& test) {
  const std::string names[] = {"ByHand", "FromShared", "FromSharedTransposed"};
  return names[test.index];
}

INSTANTIATE_TEST_SUITE_P(Fragments, SimtMma,
                         testing::Values(product_by_hand, product_from_shared<false>,
                                         product_from_shared<true>),
                         name_of_product);

void half_a_warp() {
  FragmentD d;
  if (lane_index() < 16) mma(d, FragmentA{}, FragmentB{});
}

void rows_in_global(const bf16* x) {
  load_a(x, 16);
}

TEST(SimtMma, RefusesMisuse) {
  Queue queue;
  EXPECT_THAT(fault_of([&] { launch(queue, {.name = "half", .grid = {}, .block = {32}}, half_a_warp); }),
              testing::HasSubstr("mma"));
  alignas(16) bf16 x[256] = {};
  EXPECT_THAT(
      fault_of([&] { launch(queue, {.name = "global", .grid = {}, .block = {32}}, rows_in_global, x); }),
      testing::HasSubstr("outside of shared memory"));
}

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(to_bf16(1.0f).bits, 0x3F80);
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f).bits, 0x3F80);  // a tie, down to even
  EXPECT_EQ(to_bf16(1.0f + 0x3p-8f).bits, 0x3F82);  // a tie, up to even
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3F81);
  EXPECT_EQ(to_bf16(-3.4e38f).bits, 0xFF80);  // rounds to -infinity
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7F800001u)))));
  for (uint32_t i = 0; i < 0x10000; ++i) {
    const bf16 value{static_cast<uint16_t>(i)};
    if (std::isnan(to_float(value))) {
      ASSERT_TRUE(std::isnan(to_float(to_bf16(to_float(value)))));
    } else {
      ASSERT_EQ(to_bf16(to_float(value)).bits, i);
    }
  }
}

}  // namespace
}  // namespace scrawl::simt
