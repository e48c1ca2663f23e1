#include "kernels/scratch.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "engine/device.h"
#include "kernels/column_sum.h"

namespace scrawl {
namespace {

TEST(Scratch, ServesOthersWhenItsScopeEnds) {
  Allocator memory;
  float* first = nullptr;
  {
    const Scratch scratch(memory, 100);
    first = scratch.data();
    EXPECT_EQ(memory.statistics().in_use, 512);
    const Scratch another(memory, 100);
    EXPECT_GE(std::abs(another.data() - first), 100) << "while both are held";
  }
  EXPECT_EQ(memory.statistics().in_use, 0);
  EXPECT_EQ(Scratch(memory, 100).data(), first);
}

TEST(Scratch, IsGivenBackOnceByItsLastHolder) {
  Allocator memory;
  std::optional<Scratch> last;
  {
    Scratch scratch(memory, 100);
    last.emplace(std::move(scratch));
  }
  EXPECT_EQ(memory.statistics().in_use, 512);
  last.reset();
  EXPECT_EQ(memory.statistics().in_use, 0);
}

TEST(Scratch, OfNoElementsTakesNothing) {
  Allocator memory;
  const Scratch scratch(memory, 0);
  EXPECT_EQ(scratch.data(), nullptr);
  EXPECT_EQ(memory.statistics().in_use, 0);
}

TEST(AsideMemory, KeepsWhatCameBackFromOthersUntilItEnds) {
  Allocator memory;
  std::optional<AsideMemory> aside(memory);
  const float* block = Scratch(*aside, 64).data();
  EXPECT_EQ(memory.statistics().in_use, 256);
  EXPECT_NE(Scratch(memory, 64).data(), block);
  aside.reset();
  EXPECT_EQ(memory.statistics().in_use, 0);
  EXPECT_EQ(Scratch(memory, 64).data(), block);
}

TEST(AsideMemory, HandsItOutAgainToItsOwnSmallestFirst) {
  Allocator memory;
  AsideMemory aside(memory);
  const float *large = nullptr, *small = nullptr;
  {
    const Scratch one(aside, 1000), another(aside, 100);
    large = one.data(), small = another.data();
    EXPECT_NE(large, small);
  }
  const int64_t in_use = memory.statistics().in_use;
  {
    const Scratch one(aside, 64), another(aside, 64);
    EXPECT_EQ(one.data(), small);
    EXPECT_EQ(another.data(), large);
    EXPECT_EQ(memory.statistics().in_use, in_use);
    const Scratch third(aside, 64);
    EXPECT_EQ(memory.statistics().in_use, in_use + 256);
  }
  EXPECT_NE(Scratch(aside, 1001).data(), large) << "too small";
}

#ifdef SCRAWL_SIMT
TEST(Scratch, OfAKernelCountsAsLongAsItRuns) {
  constexpr int64_t kRows = 4096;
  constexpr int kColumns = 64;
  Device device({.kind = DeviceKind::simt, .threads = 1});
  Allocator& memory = device.memory();
  const Buffer x(memory, kRows * kColumns * 4), sum(memory, kColumns * 4);
  std::memset(x.data(), 0, kRows * kColumns * 4);
  const auto run = [&] {
    device.run(ColumnSum{
        .x = x.data(), .sum = reinterpret_cast<float*>(sum.data()), .rows = kRows, .columns = kColumns});
  };
  const int64_t tensors = memory.statistics().in_use;
  run();
  const int64_t peak = device.peak_bytes(), reserved = memory.statistics().reserved;
  EXPECT_GE(peak, tensors + 2 * kColumns * 4) << "a row of sums for each part";
  EXPECT_EQ(memory.statistics().in_use, tensors);
  run();
  EXPECT_EQ(device.peak_bytes(), peak);
  EXPECT_EQ(memory.statistics().reserved, reserved);
  memory.reset_peak();
  EXPECT_EQ(device.peak_bytes(), tensors);
}
#endif

}  // namespace
}  // namespace scrawl
