#include "engine/memory.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace scrawl {
namespace {

TEST(Allocator, AlignsBlocksTo256Bytes) {
  for (const bool guard : {false, true}) {
    Allocator allocator(host_memory(), guard);
    for (const int64_t bytes : {0, 1, 255, 256, 257, 100000}) {
      Buffer buffer(allocator, bytes);
      EXPECT_EQ(std::bit_cast<uintptr_t>(buffer.data()) % 256, 0u) << bytes;
    }
  }
}

TEST(Allocator, HandsReleasedBlocksOutAgain) {
  Allocator allocator;
  std::byte* first = allocator.allocate(1000);
  allocator.release(first);
  const int64_t reserved = allocator.statistics().reserved;
  for (int step = 0; step < 100; ++step) {
    std::byte* again = allocator.allocate(900 + step);  // the same size once rounded
    EXPECT_EQ(again, first);
    allocator.release(again);
  }
  EXPECT_EQ(allocator.statistics().reserved, reserved);
}

TEST(Allocator, TrimGivesBackWhatIsNotInUse) {
  for (const bool guard : {false, true}) {
    Allocator allocator(host_memory(), guard);
    Buffer kept(allocator, 512);
    for (const int64_t bytes : {1024, 2048, 4096}) allocator.release(allocator.allocate(bytes));
    EXPECT_EQ(allocator.statistics().reserved, 512 + 1024 + 2048 + 4096);
    allocator.trim();
    EXPECT_EQ(allocator.statistics().reserved, 512);
    EXPECT_EQ(allocator.statistics().in_use, 512);
    Buffer fresh(allocator, 1024);
    EXPECT_EQ(allocator.statistics().reserved, 512 + 1024);
    EXPECT_EQ(allocator.damage(), "");
  }
}

TEST(Allocator, GivesBackUnusedBlocksWhenTheSystemHasNoMore) {
  static int64_t left;
  left = 4096;
  const SystemMemory small{[](int64_t bytes) {
                             if (bytes > left) return static_cast<std::byte*>(nullptr);
                             left -= bytes;
                             return host_memory().allocate(bytes);
                           },
                           [](std::byte* memory) {
                             left = 4096;  // the only block
                             host_memory().release(memory);
                           }};
  Allocator allocator(small);
  allocator.release(allocator.allocate(4096));
  Buffer smaller(allocator, 2048);
  EXPECT_THROW(allocator.allocate(4096), std::runtime_error);
}

TEST(Allocator, NeverHandsOneBlockOutTwice) {
  Allocator allocator;
  Buffer a(allocator, 512), b(allocator, 512);
  EXPECT_NE(a.data(), b.data());
}

TEST(Allocator, CountsUseAndItsHighWaterMark) {
  Allocator allocator;
  {
    Buffer a(allocator, 1024);
    { Buffer b(allocator, 2048); }
    Buffer c(allocator, 256);
    EXPECT_EQ(allocator.statistics().in_use, 1024 + 256);
    EXPECT_EQ(allocator.statistics().peak, 1024 + 2048);
    allocator.reset_peak();
    EXPECT_EQ(allocator.statistics().peak, 1024 + 256);
  }
  EXPECT_EQ(allocator.statistics().in_use, 0);
}

TEST(Allocator, RefusesANegativeSize) {
  Allocator allocator;
  EXPECT_THROW(allocator.allocate(-1), std::invalid_argument);
}

TEST(GuardedAllocator, FillsBlocksWithNanEveryTime) {
  Allocator allocator(host_memory(), /*guard=*/true);
  for (int round = 0; round < 2; ++round) {
    Buffer buffer(allocator, 12);
    float values[3];
    std::memcpy(values, buffer.data(), sizeof values);
    for (float& value : values) EXPECT_TRUE(std::isnan(value));
    std::memset(buffer.data(), 0, 12);
  }
  EXPECT_EQ(allocator.damage(), "");
}

TEST(GuardedAllocator, ReportsOneByteBehindABlockInUse) {
  Allocator allocator(host_memory(), /*guard=*/true);
  Buffer buffer(allocator, 13);  // not a whole number of alignments: the band begins right behind
  buffer.data()[12] = std::byte{1};
  EXPECT_EQ(allocator.damage(), "");
  buffer.data()[13] = std::byte{1};
  EXPECT_NE(allocator.damage().find("behind a block of 13 bytes"), std::string::npos);
}

TEST(GuardedAllocator, ReportsOneByteAheadOfABlockWhenItIsReleased) {
  Allocator allocator(host_memory(), /*guard=*/true);
  {
    Buffer buffer(allocator, 64);
    buffer.data()[-1] = std::byte{1};
  }
  EXPECT_NE(allocator.damage().find("ahead of a block of 64 bytes"), std::string::npos);
}

}  // namespace
}  // namespace scrawl
