#include "tests/observed/accesses/patterns.h"

#include <gtest/gtest.h>

namespace scrawl {
namespace {

/// One access by each lane, `stride` bytes from the next lane's.
Patterns accesses(bool shared, uint64_t stride, size_t bytes) {
  BlockAccesses block;
  for (int lane = 31; lane >= 0; --lane) block.add(lane, 1, shared, lane * stride, bytes);
  Patterns patterns;
  block.sum_up(patterns);
  return patterns;
}

void expect_efficiency(const Efficiency& found, int64_t used, int64_t least) {
  EXPECT_EQ(found.used, used);
  EXPECT_EQ(found.least, least);
}

TEST(AccessPatterns, CountSectors) {
  expect_efficiency(accesses(false, 4, 4).global, 4, 4);
  expect_efficiency(accesses(false, 8, 4).global, 8, 4);
  expect_efficiency(accesses(false, 256, 4).global, 32, 4);
  expect_efficiency(accesses(false, 0, 4).global, 1, 1);
  expect_efficiency(accesses(false, 16, 16).global, 16, 16);
  expect_efficiency(accesses(false, 32, 32).global, 64, 32);  // by two instructions
}

TEST(AccessPatterns, CountTurnsAtBanks) {
  expect_efficiency(accesses(true, 4, 4).shared, 1, 1);
  expect_efficiency(accesses(true, 8, 4).shared, 2, 1);
  expect_efficiency(accesses(true, 128, 4).shared, 32, 1);
  expect_efficiency(accesses(true, 0, 4).shared, 1, 1);
  expect_efficiency(accesses(true, 16, 16).shared, 4, 4);   // a quarter of the lanes at a time
  expect_efficiency(accesses(true, 272, 16).shared, 4, 4);  // rows of 128 values of bf16, padded
  expect_efficiency(accesses(true, 256, 16).shared, 32, 4);
}

TEST(AccessPatterns, TakeAnInstructionsTurnsApart) {
  BlockAccesses block;
  for (int turn = 0; turn < 3; ++turn)
    for (int lane = 0; lane < 32; ++lane) block.add(lane, 1, false, 1000 * turn + 4 * lane, 4);
  for (int lane = 32; lane < 64; ++lane) block.add(lane, 1, false, 4096 + 4 * lane, 4);
  block.add(0, 1, false, 8192, 64);  // a bulk copy's
  Patterns patterns;
  block.sum_up(patterns);
  expect_efficiency(patterns.global, 5 + 5 + 4 + 4, 16);
  expect_efficiency(patterns.global_lines.at(1), 18, 16);
}

}  // namespace
}  // namespace scrawl
