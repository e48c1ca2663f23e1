// Products of warpgroups: a layout that is wrong anywhere gives a wrong product.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/wgmma.cuh"
#include "tests/kernels/simt/broken.h"

namespace scrawl::simt {
namespace {

struct alignas(1024) Tiles {
  bf16 a[32 * kTileColumns], b[64 * kTileColumns];
};

/// Writes a matrix of `rows` × `columns`, or its transpose, to a tile from `first_column` on.
void fill(bf16* tile, const bf16* matrix, int rows, int columns, bool transposed, int first_column) {
  for (int i = threadIdx.x; i < rows * columns; i += blockDim.x) {
    const int row = i / columns, column = i % columns;
    tile[transposed ? tile_offset(column, first_column + row) : tile_offset(row, first_column + column)] =
        matrix[i];
  }
}

/// D[64, 64] from A [64, 32] in registers and B [32, 64].
template <Major of_b>
void product_of_registers(const bf16* a, const bf16* b, float* d) {
  auto& tiles = *dynamic_shared<Tiles>();
  fill(tiles.b, b, 32, 64, of_b == Major::k, 0);
  __syncthreads();
  const int row = warp_index() * 16 + lane_index() / 4, column = lane_index() % 4 * 2;
  FragmentD result[8];
  fence_products(result);
  for (int k = 0; k < 32; k += 16) {
    FragmentA words;
    for (int i = 0; i < 4; ++i) {
      const bf16* pair = a + (row + i % 2 * 8) * 32 + k + column + i / 2 * 8;
      words.words[i] = pair[0].bits | unsigned{pair[1].bits} << 16;
    }
    start_product<of_b>(
        result, words, tile_operand(tiles.b).from(of_b == Major::k ? 0 : k, of_b == Major::k ? k : 0), k > 0);
  }
  commit_products();
  wait_products<0>(result);
  for (int j = 0; j < 8; ++j)
    for (int i = 0; i < 4; ++i)
      d[64 * (warp_index() * 16 + FragmentD::row(i)) + 8 * j + FragmentD::column(i)] = result[j].values[i];
}

/// The same from A in shared memory, 32 columns at a time.
void product_of_tiles(const bf16* a, const bf16* b, float* d) {
  auto& tiles = *dynamic_shared<Tiles>();
  fill(tiles.a, a, 64, 32, true, 0);
  fill(tiles.b, b, 32, 64, false, 0);
  __syncthreads();
  FragmentD results[2][4];
  fence_products(results[0], results[1]);
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < 32; k += 16)
      start_product<Major::mn, Major::mn>(results[half], tile_operand(tiles.a).from(k, 0),
                                          tile_operand(tiles.b).from(k, 32 * half), k > 0);
    commit_products();
  }
  const auto store = [&](int half) {
    for (int j = 0; j < 4; ++j)
      for (int i = 0; i < 4; ++i)
        d[64 * (warp_index() * 16 + FragmentD::row(i)) + 32 * half + 8 * j + FragmentD::column(i)] =
            results[half][j].values[i];
  };
  wait_products<1>(results[0]);
  store(0);
  wait_products<0>(results[1]);
  store(1);
}

class SimtWgmma : public testing::TestWithParam<void (*)(const bf16*, const bf16*, float*)> {};

TEST_P(SimtWgmma, MultipliesMatrices) {
  std::vector<bf16> a(64 * 32), b(32 * 64);
  std::vector<float> wanted(64 * 64);
  for (int i = 0; i < 64 * 32; ++i) a[i] = to_bf16(static_cast<float>(i * 37 % 101 - 50));
  for (int i = 0; i < 32 * 64; ++i) b[i] = to_bf16(static_cast<float>(i * 53 % 97 - 48));
  for (int r = 0; r < 64; ++r)
    for (int c = 0; c < 64; ++c)
      for (int k = 0; k < 32; ++k) wanted[64 * r + c] += to_float(a[32 * r + k]) * to_float(b[64 * k + c]);
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<float> d(64 * 64);
    launch(queue, {.name = "wgmma", .grid = {}, .block = {kWarpgroupThreads}, .shared_bytes = sizeof(Tiles)},
           GetParam(), a.data(), b.data(), d.data());
    EXPECT_EQ(d, wanted);  // integers: exact
  }
}

std::string name_of_product(const testing::TestParamInfo<SimtWgmma::ParamType>& test) {
  const std::string names[] = {"OfRegistersAlongK", "OfRegistersAcrossK", "OfTiles"};
  return names[test.index];
}

INSTANTIATE_TEST_SUITE_P(Forms, SimtWgmma,
                         testing::Values(product_of_registers<Major::k>, product_of_registers<Major::mn>,
                                         product_of_tiles),
                         name_of_product);

enum class Mistake {
  none,
  half_a_warpgroup,
  no_fence,
  early_read,
  no_wait,
  overwritten,
  beyond_the_row,
  other_tile
};

void broken(Mistake mistake, float* seen) {
  auto& tiles = *dynamic_shared<Tiles>();
  for (int i = threadIdx.x; i < 64 * kTileColumns; i += blockDim.x) tiles.b[i] = to_bf16(1.0f);
  __syncthreads();
  if (mistake == Mistake::half_a_warpgroup && threadIdx.x >= 64) return;
  FragmentD d[8];
  const FragmentA a{};
  if (mistake != Mistake::no_fence) fence_products(d);
  const bf16* tile = mistake == Mistake::other_tile ? tiles.b + 48 * kTileColumns : tiles.b;
  start_product<Major::k>(d, a, tile_operand(tile).from(0, mistake == Mistake::beyond_the_row ? 56 : 0));
  commit_products();
  if (mistake == Mistake::early_read && threadIdx.x == 0) *seen = d[0].values[0];
  if (mistake == Mistake::overwritten && threadIdx.x == 0) tiles.b[0] = to_bf16(2.0f);
  if (mistake != Mistake::no_wait) wait_products<0>(d);
}

TEST(SimtWgmma, RefusesMisuse) {
  Queue queue;
  float seen = 0.0f;
  const auto fault = [&](Mistake mistake, int threads = kWarpgroupThreads) {
    return fault_of([&] {
      launch(queue, {.name = "broken", .grid = {}, .block = {threads}, .shared_bytes = sizeof(Tiles)}, broken,
             mistake, &seen);
    });
  };
  EXPECT_EQ(fault(Mistake::none), "");
  EXPECT_THAT(fault(Mistake::none, 96), testing::HasSubstr("less than four warps"));
  EXPECT_THAT(fault(Mistake::half_a_warpgroup), testing::HasSubstr("has ended"));
  EXPECT_THAT(fault(Mistake::no_fence), testing::HasSubstr("without a fence"));
  EXPECT_THAT(fault(Mistake::no_wait), testing::HasSubstr("without having waited for wgmma"));
  EXPECT_THAT(fault(Mistake::overwritten), testing::HasSubstr("operands have changed"));
  EXPECT_THAT(fault(Mistake::beyond_the_row), testing::HasSubstr("beyond the end of a row"));
  EXPECT_THAT(fault(Mistake::other_tile), testing::HasSubstr("outside of shared memory"));
  EXPECT_EQ(fault(Mistake::early_read), "");
  EXPECT_TRUE(std::isnan(seen));
}

}  // namespace
}  // namespace scrawl::simt
