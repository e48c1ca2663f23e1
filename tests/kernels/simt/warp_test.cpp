// Shuffles, votes and reductions of a warp, and kernels that misuse them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/device/warp.cuh"
#include "tests/kernels/simt/broken.h"

namespace scrawl::simt {
namespace {

using testing::AllOf;
using testing::HasSubstr;

void shuffles(int* results) {
  const int lane = lane_index();
  int* r = results + 8 * lane;
  r[0] = __shfl_sync(kFullWarp, lane, 5);
  r[1] = __shfl_sync(kFullWarp, lane, 5, 4);  // 5 modulo 4 of each group of 4
  r[2] = __shfl_xor_sync(kFullWarp, lane, 9);
  r[3] = __shfl_xor_sync(kFullWarp, lane, 8, 8);  // a lower group can be read, a higher one cannot
  r[4] = __shfl_down_sync(kFullWarp, lane, 3);
  r[5] = __shfl_down_sync(kFullWarp, lane, 3, 8);
  r[6] = __shfl_up_sync(kFullWarp, lane, 3);
  r[7] = __shfl_up_sync(kFullWarp, lane, 3, 8);
}

TEST(SimtWarp, ShufflesLikeAGpu) {
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<int> r(8 * 32);
    launch(queue, {.name = "shuffles", .grid = {}, .block = {32}}, shuffles, r.data());
    for (int lane = 0; lane < 32; ++lane) {
      SCOPED_TRACE(lane);
      EXPECT_EQ(r[8 * lane], 5);
      EXPECT_EQ(r[8 * lane + 1], lane / 4 * 4 + 1);
      EXPECT_EQ(r[8 * lane + 2], lane ^ 9);
      EXPECT_EQ(r[8 * lane + 3], lane & 8 ? lane ^ 8 : lane);
      EXPECT_EQ(r[8 * lane + 4], lane < 29 ? lane + 3 : lane);
      EXPECT_EQ(r[8 * lane + 5], lane % 8 < 5 ? lane + 3 : lane);
      EXPECT_EQ(r[8 * lane + 6], lane >= 3 ? lane - 3 : lane);
      EXPECT_EQ(r[8 * lane + 7], lane % 8 >= 3 ? lane - 3 : lane);
    }
  }
}

void votes_and_sums(unsigned* r) {
  const int lane = lane_index();
  const unsigned half = lane < 16 ? 0x0000FFFFu : 0xFFFF0000u;  // two meetings in one warp at a time
  r += 8 * thread_rank();
  r[0] = __ballot_sync(kFullWarp, lane % 3 == 0);
  r[1] = __ballot_sync(half, lane % 2 == 0);
  r[2] = __any_sync(half, lane == 20);
  r[3] = __all_sync(half, lane != 20);
  r[4] = __reduce_add_sync(half, lane);
  r[5] = __reduce_max_sync(half, lane) - __reduce_min_sync(half, lane);
  r[6] = warp_sum<8>(lane);
  r[7] = warp_max<16>(lane, half) + 100 * warp_sum(lane);
}

TEST(SimtWarp, VotesAndReducesWithMasks) {
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<unsigned> results(8 * 64);
    launch(queue, {.name = "votes", .grid = {}, .block = {64}}, votes_and_sums, results.data());
    for (int thread = 0; thread < 64; ++thread) {
      SCOPED_TRACE(thread);
      const unsigned* r = &results[8 * thread];
      const int lane = thread % 32, upper = lane / 16;
      EXPECT_EQ(r[0], 0x49249249u);
      EXPECT_EQ(r[1], 0x5555u << 16 * upper);
      EXPECT_EQ(r[2], upper);
      EXPECT_EQ(r[3], !upper);
      EXPECT_EQ(r[4], 120 + 256 * upper);
      EXPECT_EQ(r[5], 15);
      EXPECT_EQ(r[6], 28 + lane / 8 * 64);
      EXPECT_EQ(r[7], 15 + 16 * upper + 100 * 496);
    }
  }
}

/// Sums in the order of a shuffle loop and in that of warp_sum, which meets only once; then over the block.
void float_sums(const float* x, float* r) {
  const float mine = x[thread_rank()];
  float sum = mine;
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(kFullWarp, sum, offset);
  r[4 * thread_rank()] = sum;
  r[4 * thread_rank() + 1] = warp_sum(mine);
  r[4 * thread_rank() + 2] = block_sum(mine);
  r[4 * thread_rank() + 3] = block_max(mine);
}

TEST(SimtWarp, SumsInTheOrderOfShuffles) {
  std::vector<float> x(96), r(4 * 96);
  double total = 0.0;
  for (int i = 0; i < 96; ++i) total += x[i] = 1.0f / (1 + 37 * i % 96);
  std::vector<float> first;
  for (const Options& options : orders()) {
    Queue queue(options);
    launch(queue, {.name = "sums", .grid = {}, .block = {96}}, float_sums, x.data(), r.data());
    for (int i = 0; i < 96; ++i) {
      ASSERT_EQ(r[4 * i], r[4 * i + 1]);
      ASSERT_EQ(r[4 * i + 2], r[2]);
      ASSERT_EQ(r[4 * i + 3], 1.0f);
    }
    EXPECT_NEAR(r[2], total, 1e-6);
    if (first.empty()) first = r;
    EXPECT_EQ(r, first);
  }
}

// --- broken kernels ---------------------------------------------------------------------------------------

/// What the simulator says about `kernel` in a block of `threads`, in every order.
void expect_fault(void (*kernel)(), int threads, const testing::Matcher<std::string>& message) {
  for (const Options& options : orders()) {
    Queue queue(options);
    EXPECT_THAT(fault_of([&] { launch(queue, {.name = "broken", .grid = {}, .block = {threads}}, kernel); }),
                message);
  }
}

void shuffle_with_ended_lane() {
  if (lane_index() == 9) return;
  __shfl_xor_sync(kFullWarp, 1, 1);
}

void shuffle_in_branch() {
  if (lane_index() < 16) __shfl_xor_sync(kFullWarp, 1, 1);
  __syncwarp();
}

void vote_without_oneself() {
  __ballot_sync(0xFFFFFFFEu, 1);
}

void read_beside_mask() {
  if (lane_index() < 16) __shfl_sync(0xFFFFu, 1, 16);
}

void masks_disagree() {
  __syncwarp(lane_index() < 31 ? 0xFFFFFFFFu : 0x80000001u);
}

void sum_of_half() {
  if (lane_index() < 16) warp_sum(1.0f, 0xFFFFu);
}

TEST(SimtWarp, NamesLanesThatDoNotTakePart) {
  expect_fault(
      shuffle_with_ended_lane, 32,
      AllOf(HasSubstr("__shfl_xor_sync at"), HasSubstr("warp_test.cpp:"), HasSubstr("mask 0xffffffff"),
            testing::AnyOf(HasSubstr("lane 9 has ended"), HasSubstr("thread (9, 0, 0) has ended"))));
  expect_fault(shuffle_in_branch, 32,
               AllOf(HasSubstr("__shfl_xor_sync"), HasSubstr("__syncwarp"), HasSubstr("while thread")));
  expect_fault(vote_without_oneself, 32, HasSubstr("lacks its own lane 0"));
  expect_fault(read_beside_mask, 32, HasSubstr("reads lane 16, which is not in its mask 0x0000ffff"));
  expect_fault(masks_disagree, 32, HasSubstr("mask 0x80000001"));
  expect_fault(sum_of_half, 32, HasSubstr("which is not in its mask 0x0000ffff"));
}

TEST(SimtWarp, NamesLanesThatTheBlockLacks) {
  expect_fault([] { __syncwarp(); }, 48, HasSubstr("the block has no lane 16 in this warp"));
  expect_fault([] { __syncwarp(warp_index() == 0 ? kFullWarp : 0xFFFFu); }, 48, testing::IsEmpty());
}

}  // namespace
}  // namespace scrawl::simt
