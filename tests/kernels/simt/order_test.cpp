// Races: kernels that give different bits in different orders, and the orders themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "kernels/cuda/device/atomics.cuh"
#include "kernels/cuda/device/warp.cuh"
#include "kernels/simt/order.h"
#include "tests/kernels/simt/broken.h"

namespace scrawl::simt {
namespace {

constexpr int kThreads = 64;

/// How many different results a kernel gives over all orders.
int different_results(void (*kernel)(int*)) {
  std::set<std::vector<int>> results;
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<int> x(2 * kThreads);
    for (int i = 0; i < 2 * kThreads; ++i) x[i] = i;
    launch(queue, {.name = "race", .grid = {2}, .block = {kThreads}}, kernel, x.data());
    results.insert(x);
  }
  return static_cast<int>(results.size());
}

template <bool with_barrier>
void rotate(int* x) {
  auto& tile = shared<int[kThreads], struct Tile>();
  const int t = threadIdx.x;
  tile[t] = x[blockIdx.x * kThreads + t];
  if (with_barrier) __syncthreads();
  x[blockIdx.x * kThreads + t] = tile[(t + 1) % kThreads];
}

template <bool with_second_barrier>
void use_tile_twice(int* x) {
  auto& tile = shared<int[kThreads], struct Tile>();
  const int t = threadIdx.x;
  tile[t] = x[blockIdx.x * kThreads + t];
  __syncthreads();
  const int other = tile[kThreads - 1 - t];
  if (with_second_barrier) __syncthreads();
  tile[t] = -other;
  __syncthreads();
  x[blockIdx.x * kThreads + t] = tile[kThreads - 1 - t];
}

template <bool in_place>
void blocks_read_each_other(int* x) {
  const int t = blockIdx.x * kThreads + threadIdx.x;
  if (in_place)
    x[t] = x[(t + kThreads) % (2 * kThreads)];
  else
    x[t] = x[t] + 1;
}

/// The last thread to come wins.
void last_writer(int* x) {
  x[0] = blockIdx.x * kThreads + threadIdx.x;
}

template <bool with_syncwarp>
void warp_without_sync(int* x) {
  auto& tile = shared<int[kThreads], struct Tile>();
  const int t = threadIdx.x;
  tile[t] = x[blockIdx.x * kThreads + t];
  if (with_syncwarp) __syncwarp();
  x[blockIdx.x * kThreads + t] = tile[t ^ 1];
}

/// Warps that meet only among themselves get ahead of each other by more than one meeting.
template <bool with_barrier>
void warps_without_barrier(int* x) {
  auto& tile = shared<int[kThreads], struct Tile>();
  const int t = threadIdx.x;
  for (int i = 0; i < 3; ++i) __syncwarp();
  tile[t] = x[blockIdx.x * kThreads + t];
  for (int i = 0; i < 3; ++i) __syncwarp();
  if (with_barrier) __syncthreads();
  x[blockIdx.x * kThreads + t] = tile[(t + kThreads / 2) % kThreads];
}

TEST(SimtOrder, RacesShow) {
  EXPECT_EQ(different_results(rotate<true>), 1);
  EXPECT_GT(different_results(rotate<false>), 1);
  EXPECT_EQ(different_results(use_tile_twice<true>), 1);
  EXPECT_GT(different_results(use_tile_twice<false>), 1);
  EXPECT_EQ(different_results(warp_without_sync<true>), 1);
  EXPECT_GT(different_results(warp_without_sync<false>), 1);
  EXPECT_EQ(different_results(warps_without_barrier<true>), 1);
  EXPECT_GT(different_results(warps_without_barrier<false>), 1);
  EXPECT_EQ(different_results(blocks_read_each_other<false>), 1);
  EXPECT_GT(different_results(blocks_read_each_other<true>), 1);
  EXPECT_GT(different_results(last_writer), 1);
}

/// The last block to come adds up what all have left: an order-independent way to reduce in one launch.
void last_block_adds(const float* x, float* partials, unsigned* arrived, float* total) {
  const float sum = block_sum(x[blockIdx.x * kThreads + threadIdx.x]);
  if (threadIdx.x != 0) return;
  partials[blockIdx.x] = sum;
  __threadfence();
  if (atomicAdd(arrived, 1u) + 1 < gridDim.x) return;
  *total = 0.0f;
  for (unsigned block = 0; block < gridDim.x; ++block) *total += partials[block];
}

TEST(SimtOrder, AtomicsLetTheLastBlockReduce) {
  constexpr int kBlocks = 37;
  std::vector<float> x(kBlocks * kThreads);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f / (1 + i);
  std::set<float> totals;
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<float> partials(kBlocks);
    unsigned arrived = 0;
    float total = 0.0f;
    launch(queue, {.name = "last_block", .grid = {kBlocks}, .block = {kThreads}}, last_block_adds, x.data(),
           partials.data(), &arrived, &total);
    EXPECT_EQ(arrived, kBlocks);
    totals.insert(total);
  }
  EXPECT_EQ(totals.size(), 1);
  EXPECT_NEAR(*totals.begin(), 8.345, 0.01);
}

TEST(SimtOrder, TurnsComeOnceEach) {
  for (const Order order : {Order::forward, Order::reverse, Order::shuffled})
    for (const int count : {1, 2, 3, 7, 32, 96, 1000})
      for (uint64_t seed = 0; seed < 20; ++seed) {
        std::vector<int> times(count);
        Turns turns(order, count, seed);
        for (int i = 0; i < count; ++i) ++times[turns.take()];
        EXPECT_TRUE(turns.done());
        EXPECT_THAT(times, testing::Each(1));
      }
}

TEST(SimtOrder, ShufflingPutsAnyTwoInEitherOrder) {
  constexpr int kCount = 32;
  std::vector<int> before(kCount * kCount);
  for (uint64_t seed = 0; seed < 64; ++seed) {
    std::vector<int64_t> taken;
    for (Turns turns(Order::shuffled, kCount, seed); !turns.done();) taken.push_back(turns.take());
    for (int i = 0; i < kCount; ++i)
      for (int j = i + 1; j < kCount; ++j) ++before[taken[i] * kCount + taken[j]];
  }
  for (int a = 0; a < kCount; ++a)
    for (int b = 0; b < kCount; ++b) {
      if (a != b) {
        EXPECT_GT(before[a * kCount + b], 8) << a << " " << b;
      }
    }
}

}  // namespace
}  // namespace scrawl::simt
