// Copies of tiles and the barriers that count them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/device/bulk_copy.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/wgmma.cuh"
#include "tests/kernels/simt/broken.h"

namespace scrawl::simt {
namespace {

constexpr int kTileRows = 16, kTileValues = kTileRows * kTileColumns;

struct alignas(1024) Tiles {
  bf16 tiles[2][kTileValues];
  CopyBarrier arrived[2];
};

constexpr int kThreads = 64;

/// Copies tiles from one place on, each a step further along the second dimension, through two places in
/// turn: [steps · kTileRows, 64].
void copy_tiles(TensorMap map, TilePlace place, int step_size, int steps, bf16* copied) {
  auto& memory = *dynamic_shared<Tiles>();
  const auto start = [&](int step) {
    if (threadIdx.x != 0 || step >= steps) return;
    expect_bytes(memory.arrived[step % 2], sizeof memory.tiles[0]);
    TilePlace shifted = place;
    shifted.at[1] += step * step_size;
    copy_tile_bulk(memory.tiles[step % 2], map, shifted, memory.arrived[step % 2]);
  };
  if (threadIdx.x == 0)
    for (CopyBarrier& arrived : memory.arrived) start_barrier(arrived);
  __syncthreads();
  start(0);
  for (int step = 0; step < steps; ++step) {
    start(step + 1);
    wait_for_phase(memory.arrived[step % 2], step / 2);
    for (int i = threadIdx.x; i < kTileValues; i += kThreads)
      copied[step * kTileValues + i] =
          memory.tiles[step % 2][tile_offset(i / kTileColumns, i % kTileColumns)];
    __syncthreads();
  }
}

TEST(SimtBulkCopy, CopiesTilesAndZerosBeyondTheTensor) {
  constexpr int kColumns = 88, kLd = 96, kHeight = 6, kWidth = 7, kImages = 2, kSteps = 3;
  std::vector<bf16> values(kImages * kHeight * kWidth * kLd);
  for (size_t i = 0; i < values.size(); ++i) values[i] = to_bf16(static_cast<float>(i % 251) - 125.0f);
  // Windows of 4 × 4 positions, beside each other, the first of which begins outside of the second image.
  const TensorMap map = tensor_map({.values = values.data(),
                                    .sizes = {kColumns, kWidth, 1, kHeight, kImages},
                                    .strides = {kLd, kWidth * kLd, kWidth * kLd, kHeight * kWidth * kLd},
                                    .tile = {4, 1, 4, 1}});
  const TilePlace place{{64, -1, 0, -1, 1}};
  std::vector<float> wanted;
  for (int window = 0; window < kSteps; ++window)
    for (int y = -1; y < 3; ++y)
      for (int x = 4 * window - 1; x < 4 * window + 3; ++x)
        for (int column = 64; column < 128; ++column)
          wanted.push_back(y < 0 || x < 0 || x >= kWidth || column >= kColumns
                               ? 0.0f
                               : to_float(values[((kHeight + y) * kWidth + x) * kLd + column]));
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<bf16> copied(wanted.size());
    launch(queue, {.name = "copy", .grid = {}, .block = {kThreads}, .shared_bytes = sizeof(Tiles)},
           copy_tiles, map, place, 4, kSteps, copied.data());
    std::vector<float> floats;
    for (const bf16 value : copied) floats.push_back(to_float(value));
    EXPECT_EQ(floats, wanted);
  }
}

enum class Mistake {
  none,
  early_read,
  no_wait,
  not_started,
  not_expected,
  too_few_bytes,
  expected_twice,
  not_aligned,
  not_shared
};

void broken(Mistake mistake, TensorMap map, bf16* global, float* seen) {
  auto& memory = *dynamic_shared<Tiles>();
  CopyBarrier& arrived = memory.arrived[0];
  bf16* tile = memory.tiles[0];
  if (mistake == Mistake::not_aligned) tile += kTileColumns;
  if (mistake == Mistake::not_shared) tile = global;
  if (threadIdx.x == 0) {
    tile[0] = to_bf16(1.0f);
    if (mistake != Mistake::not_started) start_barrier(arrived);
    if (mistake != Mistake::not_expected)
      expect_bytes(arrived, mistake == Mistake::too_few_bytes ? 16 : sizeof memory.tiles[0]);
    copy_tile_bulk(tile, map, {}, arrived);
    if (mistake == Mistake::expected_twice) expect_bytes(arrived, sizeof memory.tiles[0]);
    if (mistake == Mistake::early_read) *seen = to_float(tile[0]);
  }
  __syncthreads();
  if (mistake != Mistake::no_wait) wait_for_phase(arrived, 0);
}

TEST(SimtBulkCopy, RefusesMisuse) {
  Queue queue;
  std::vector<bf16> matrix(kTileValues, to_bf16(2.0f)), global(kTileValues);
  float seen = 0.0f;
  const auto fault = [&](Mistake mistake) {
    return fault_of([&] {
      launch(queue, {.name = "broken", .grid = {}, .block = {kThreads}, .shared_bytes = sizeof(Tiles)},
             broken, mistake,
             tensor_map({.values = matrix.data(),
                         .sizes = {kTileColumns, kTileRows, 1, 1, 1},
                         .strides = {kTileColumns, kTileValues, kTileValues, kTileValues},
                         .tile = {kTileRows, 1, 1, 1}}),
             global.data(), &seen);
    });
  };
  EXPECT_EQ(fault(Mistake::none), "");
  EXPECT_THAT(fault(Mistake::no_wait), testing::HasSubstr("without anybody having waited for the copy"));
  EXPECT_THAT(fault(Mistake::not_started), testing::HasSubstr("that was not started"));
  EXPECT_THAT(fault(Mistake::not_expected), testing::HasSubstr("the barrier's bytes do not come"));
  EXPECT_THAT(fault(Mistake::too_few_bytes), testing::HasSubstr("the barrier's bytes do not come"));
  EXPECT_THAT(fault(Mistake::expected_twice), testing::HasSubstr("has been told already"));
  EXPECT_THAT(fault(Mistake::not_aligned), testing::HasSubstr("that is not aligned"));
  EXPECT_THAT(fault(Mistake::not_shared), testing::HasSubstr("something else than shared memory"));
  EXPECT_EQ(fault(Mistake::early_read), "");
  EXPECT_TRUE(std::isnan(seen));
}

}  // namespace
}  // namespace scrawl::simt
