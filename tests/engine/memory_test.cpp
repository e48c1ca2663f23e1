#include "engine/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/error.h"

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

constexpr int64_t kMebi = 1 << 20;

/// A system that has 100 MiB, and what it has left of them.
int64_t system_left = 0;
SystemMemory small_system() {
  system_left = 100 * kMebi;
  SystemMemory system = host_memory();
  system.allocate = [](int64_t bytes) {
    if (bytes > system_left) return static_cast<std::byte*>(nullptr);
    system_left -= bytes;
    std::byte* memory = host_memory().allocate(bytes + 256);
    std::memcpy(memory, &bytes, sizeof bytes);
    return memory + 256;
  };
  system.release = [](std::byte* memory) {
    int64_t bytes = 0;
    std::memcpy(&bytes, memory - 256, sizeof bytes);
    system_left += bytes;
    host_memory().release(memory - 256);
  };
  return system;
}

TEST(Allocator, BlocksOfAllSizesShareOneSegment) {
  Allocator allocator(small_system());
  std::vector<std::unique_ptr<Buffer>> buffers;
  for (int64_t bytes = 1; bytes < 4 * kMebi; bytes = 3 * bytes + 7)
    buffers.push_back(std::make_unique<Buffer>(allocator, bytes));
  EXPECT_EQ(system_left, 68 * kMebi);
  EXPECT_EQ(allocator.statistics().reserved, 32 * kMebi);
  buffers.clear();
  Buffer all_of_it(allocator, 32 * kMebi);  // the released ones have grown together
  EXPECT_EQ(allocator.statistics().reserved, 32 * kMebi);
}

TEST(Allocator, ABlockGrowsTogetherWithFreeNeighboursInAnyOrder) {
  std::array<int, 4> order{0, 1, 2, 3};
  do {
    Allocator allocator;
    std::array<std::byte*, 4> blocks{};
    for (std::byte*& block : blocks) block = allocator.allocate(8 * kMebi);
    for (const int i : order) allocator.release(blocks[i]);
    EXPECT_EQ(allocator.allocate(32 * kMebi), blocks[0]);
    EXPECT_EQ(allocator.statistics().reserved, 32 * kMebi);
  } while (std::ranges::next_permutation(order).found);
}

TEST(Allocator, TakesTheSmallestFreeBlockThatIsLargeEnough) {
  Allocator allocator;
  std::byte* const large = allocator.allocate(4096);
  const Buffer first_wall(allocator, 256);
  std::byte* const fitting = allocator.allocate(2048);
  const Buffer second_wall(allocator, 256);
  std::byte* const small = allocator.allocate(1024);
  const Buffer third_wall(allocator, 256);
  for (std::byte* block : {large, fitting, small}) allocator.release(block);
  EXPECT_EQ(allocator.allocate(1500), fitting);
  EXPECT_EQ(allocator.allocate(512), fitting + 1536);  // what is left of it
  EXPECT_EQ(allocator.allocate(1024), small);
  EXPECT_EQ(allocator.allocate(1024), large);
}

TEST(Allocator, ALargeRequestHasASegmentOfItsOwnSize) {
  Allocator allocator(small_system());
  const Buffer large(allocator, 60 * kMebi + 1);
  EXPECT_EQ(allocator.statistics().reserved, 62 * kMebi);  // whole pages of a GPU
  EXPECT_EQ(allocator.statistics().in_use, 60 * kMebi + 256);
}

/// Requests and releases by a rule of their own, as offsets from the first block of a segment.
std::vector<int64_t> places_of_a_course(Allocator& allocator) {
  std::vector<std::byte*> live;
  std::vector<int64_t> places;
  uint32_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    state = 1664525 * state + 1013904223;
    if (live.size() > 20) {
      std::swap(live[state % live.size()], live.back());
      allocator.release(live.back());
      live.pop_back();
    }
    live.push_back(allocator.allocate(state >> 15));
    places.push_back(live.back() - live.front());
  }
  for (std::byte* block : live) allocator.release(block);
  return places;
}

TEST(Allocator, TheSameRequestsGiveTheSamePlaces) {
  Allocator allocator, another;
  const Buffer elsewhere(another, 512);
  EXPECT_EQ(places_of_a_course(allocator), places_of_a_course(another));
  EXPECT_EQ(allocator.statistics().in_use, 0);
  const int64_t reserved = allocator.statistics().reserved;
  places_of_a_course(allocator);
  EXPECT_EQ(allocator.statistics().reserved, reserved) << "a second time asks the system for nothing";
  allocator.trim();
  EXPECT_EQ(allocator.statistics().reserved, 0);
}

TEST(Allocator, SegmentsAreOrderedAsTheyCameNotByAddress) {
  static std::byte* next = nullptr;
  static int64_t step = 0;
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(host_memory().allocate(96 * kMebi),
                                                                &std::free);
  for (const int64_t direction : {32 * kMebi, -32 * kMebi}) {
    next = memory.get() + 32 * kMebi, step = direction;
    SystemMemory system = host_memory();
    system.allocate = [](int64_t) { return std::exchange(next, next + step); };
    system.release = [](std::byte*) {};
    Allocator allocator(system);
    std::byte* const first = allocator.allocate(20 * kMebi);
    std::byte* const second = allocator.allocate(20 * kMebi);
    allocator.release(second);
    allocator.release(first);
    EXPECT_EQ(allocator.allocate(20 * kMebi), first);
  }
}

TEST(Allocator, BlocksInUseNeverOverlap) {
  Allocator allocator;
  std::map<std::byte*, int64_t> live;  // by address, with the size asked for
  uint32_t state = 7;
  for (int i = 0; i < 5000; ++i) {
    state = 1664525 * state + 1013904223;
    if (live.size() > 30 || (!live.empty() && state % 3 == 0)) {
      const auto it = std::next(live.begin(), state % live.size());
      allocator.release(it->first);
      live.erase(it);
    } else {
      const int64_t bytes = state >> 12;
      live.emplace(allocator.allocate(bytes), bytes);
    }
    for (auto it = live.begin(); it != live.end() && std::next(it) != live.end(); ++it)
      ASSERT_LE(it->first + it->second, std::next(it)->first);
  }
  for (const auto& [block, bytes] : live) allocator.release(block);
}

TEST(Allocator, TrimGivesBackSegmentsWithoutABlockInUse) {
  Allocator allocator(small_system());
  Buffer kept(allocator, 512);
  allocator.release(allocator.allocate(40 * kMebi));
  EXPECT_EQ(allocator.statistics().reserved, 72 * kMebi);
  allocator.trim();
  EXPECT_EQ(allocator.statistics().reserved, 32 * kMebi);
  EXPECT_EQ(system_left, 68 * kMebi);
  EXPECT_EQ(allocator.statistics().in_use, 512);
  EXPECT_EQ(allocator.statistics().peak_reserved, 72 * kMebi);
  allocator.reset_peak();
  EXPECT_EQ(allocator.statistics().peak_reserved, 32 * kMebi);
}

TEST(Allocator, GivesBackUnusedSegmentsWhenTheSystemHasNoMore) {
  Allocator allocator(small_system());
  allocator.release(allocator.allocate(60 * kMebi));
  Buffer larger(allocator, 80 * kMebi);
  EXPECT_EQ(allocator.statistics().reserved, 80 * kMebi);
  Buffer small(allocator, 4096);  // no whole segment is left
  EXPECT_EQ(allocator.statistics().reserved, 80 * kMebi + 4096);
  EXPECT_THROW(allocator.allocate(40 * kMebi), OutOfMemory);
}

TEST(Allocator, WhatACaptureUsedIsNotHandedOutUntilCapturesEnd) {
  Allocator allocator;
  allocator.use(Allocator::Pool::captured);
  std::byte* const captured = allocator.allocate(1024);
  allocator.release(captured);
  allocator.use(Allocator::Pool::ordinary);
  allocator.trim();
  std::byte* const ordinary = allocator.allocate(1024);
  EXPECT_NE(ordinary, captured);
  allocator.release(ordinary);
  EXPECT_EQ(allocator.statistics().reserved, 64 * kMebi);
  allocator.end_captures();
  EXPECT_EQ(allocator.allocate(1024), captured);
}

TEST(Allocator, CapturesCountAtTheirWorstMoment) {
  Allocator allocator;
  const Buffer persistent(allocator, 256);
  allocator.use(Allocator::Pool::captured);
  for (int capture = 0; capture < 2; ++capture) {
    for (const int64_t bytes : {1024, 2048, 4096}) Buffer(allocator, bytes);
    Buffer one(allocator, 1024), two(allocator, 2048);
  }
  std::byte* const result = allocator.allocate(512);  // lives longer than the captures
  allocator.use(Allocator::Pool::ordinary);
  EXPECT_EQ(allocator.statistics().in_use, 256 + 4096);
  EXPECT_EQ(allocator.statistics().peak, 256 + 4096);
  allocator.end_captures();
  EXPECT_EQ(allocator.statistics().in_use, 256 + 512);
  allocator.release(result);
  EXPECT_EQ(allocator.statistics().in_use, 256);
}

TEST(Allocator, ACaptureTakesOverSegmentsThatNobodyUses) {
  Allocator allocator(small_system());
  const Buffer persistent(allocator, 256);
  allocator.release(allocator.allocate(40 * kMebi));
  allocator.use(Allocator::Pool::captured);
  allocator.release(allocator.allocate(1024));  // not from the segment that is in use
  allocator.release(allocator.allocate(36 * kMebi));
  allocator.use(Allocator::Pool::ordinary);
  allocator.release(allocator.allocate(1024));
  EXPECT_EQ(allocator.statistics().reserved, 72 * kMebi);
  allocator.trim();
  EXPECT_EQ(allocator.statistics().reserved, 72 * kMebi) << "captured memory stays";
  allocator.end_captures();
  allocator.trim();
  EXPECT_EQ(allocator.statistics().reserved, 32 * kMebi);
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

TEST(GuardedAllocator, EveryBlockIsASegmentOfItsOwn) {
  Allocator allocator(host_memory(), /*guard=*/true);
  const Buffer kept(allocator, 512);
  for (const int64_t bytes : {1024, 2048, 4096}) allocator.release(allocator.allocate(bytes));
  EXPECT_EQ(allocator.statistics().reserved, 512 + 1024 + 2048 + 4096);
  const Buffer same(allocator, 2000), other(allocator, 3000);
  EXPECT_EQ(allocator.statistics().reserved, 512 + 1024 + 2048 + 4096 + 3072);
  allocator.trim();
  EXPECT_EQ(allocator.statistics().reserved, 512 + 2048 + 3072);
  EXPECT_EQ(allocator.damage(), "");
}

/// Where the address sanitizer does not stop a test that writes beside a block.
SystemMemory unmarked_memory() {
  SystemMemory system = host_memory();
  system.mark = [](std::byte*, int64_t, bool) {};
  return system;
}

TEST(GuardedAllocator, ReportsOneByteBehindABlockInUse) {
  Allocator allocator(unmarked_memory(), /*guard=*/true);
  Buffer buffer(allocator, 13);  // not a whole number of alignments: the band begins right behind
  buffer.data()[12] = std::byte{1};
  EXPECT_EQ(allocator.damage(), "");
  buffer.data()[13] = std::byte{1};
  EXPECT_NE(allocator.damage().find("behind a block of 13 bytes"), std::string::npos);
}

TEST(GuardedAllocator, ReportsOneByteAheadOfABlockWhenItIsReleased) {
  Allocator allocator(unmarked_memory(), /*guard=*/true);
  {
    Buffer buffer(allocator, 64);
    buffer.data()[-1] = std::byte{1};
  }
  EXPECT_NE(allocator.damage().find("ahead of a block of 64 bytes"), std::string::npos);
}

TEST(AllocatorDeathTest, AddressSanitizerStopsWhatTouchesNoBlock) {
#ifdef __SANITIZE_ADDRESS__
  for (const bool guard : {false, true}) {
    Allocator allocator(host_memory(), guard);
    const auto write = [](std::byte* to) { std::memset(to, 1, 1); };
    std::byte* const kept = allocator.allocate(1000);
    std::byte* block = allocator.allocate(13);
    write(kept + 999);
    write(block + 12);
    EXPECT_DEATH(write(kept + 1000), "AddressSanitizer: use-after-poison");
    EXPECT_DEATH(write(block + 13), "AddressSanitizer: use-after-poison");
    allocator.release(block);
    EXPECT_DEATH(write(block), "AddressSanitizer: use-after-poison");
    block = allocator.allocate(14);
    write(block + 13);

    allocator.use(Allocator::Pool::captured);
    std::byte* const captured = allocator.allocate(8);
    allocator.release(captured);
    write(captured + 7);  // as a replay does
    allocator.end_captures();
    EXPECT_DEATH(write(captured), "AddressSanitizer: use-after-poison");
    EXPECT_EQ(allocator.damage(), "");
  }
#else
  GTEST_SKIP() << "built without the address sanitizer";
#endif
}

}  // namespace
}  // namespace scrawl
