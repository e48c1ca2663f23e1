// Barriers, and kernels that break their rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "tests/kernels/simt/broken.h"

namespace scrawl::simt {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

constexpr int kThreads = 96;

void reverse(int* x) {
  auto& tile = shared<int[kThreads], struct Tile>();
  tile[threadIdx.x] = x[blockIdx.x * kThreads + threadIdx.x];
  __syncthreads();
  x[blockIdx.x * kThreads + threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}

TEST(SimtBarrier, LetsThreadsReadWhatOthersWrote) {
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<int> x(7 * kThreads);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int>(i);
    launch(queue, {.name = "reverse", .grid = {7}, .block = {kThreads}}, reverse, x.data());
    for (int i = 0; i < std::ssize(x); ++i)
      ASSERT_EQ(x[i], i / kThreads * kThreads + kThreads - 1 - i % kThreads);
  }
}

void count_votes(int* results) {
  const int rank = thread_rank();
  int sum = 0;
  for (int i = 0; i < 5; ++i) {  // at once after one another, so that a late thread could see a wrong count
    sum += __syncthreads_count(rank % 3 == i);
    sum += 1000 * __syncthreads_and(rank >= 0) + 10000 * __syncthreads_and(rank != 7);
    sum += 100000 * __syncthreads_or(rank == 7) + 1000000 * __syncthreads_or(rank < 0);
  }
  results[rank] = sum;
}

TEST(SimtBarrier, CountsVotes) {
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<int> results(40);
    launch(queue, {.name = "votes", .grid = {}, .block = {8, 5}}, count_votes, results.data());
    EXPECT_THAT(results, Each(40 + 5 * 1000 + 5 * 100000));
  }
}

void return_early(int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  __syncthreads();
}

TEST(SimtBarrier, NamesAThreadThatEndedBeforeIt) {
  for (const Options& options : orders()) {
    Queue queue(options);
    const auto run = [&](int n) {
      return fault_of(
          [&] { launch(queue, {.name = "return_early", .grid = {3}, .block = {64}}, return_early, n); });
    };
    EXPECT_EQ(run(64), "");
    EXPECT_THAT(run(63), AllOf(HasSubstr("kernel return_early, block ("), HasSubstr("63 of 64 threads wait"),
                               HasSubstr("__syncthreads at "), HasSubstr("barrier_test.cpp:"),
                               HasSubstr("thread (63, 0, 0) has ended")));
  }
}

void diverge(int n) {
  if (static_cast<int>(threadIdx.x) < n)
    __syncthreads();
  else
    __syncthreads();
}

TEST(SimtBarrier, TellsDifferentBarriersApart) {
  for (const Options& options : orders()) {
    Queue queue(options);
    const auto run = [&](int n) {
      return fault_of([&] { launch(queue, {.name = "diverge", .grid = {}, .block = {64}}, diverge, n); });
    };
    EXPECT_EQ(run(0), "");
    EXPECT_EQ(run(64), "");
    EXPECT_THAT(run(5),
                AllOf(HasSubstr("comes to __syncthreads at"), HasSubstr("waits at __syncthreads at")));
  }
}

void wait_for_each_other() {
  if (threadIdx.x == 40)
    __syncwarp(0x00000300u);  // for lane 9
  else
    __syncthreads();
}

TEST(SimtBarrier, EndsADeadlockWithAMessage) {
  for (const Options& options : orders()) {
    Queue queue(options);
    EXPECT_THAT(
        fault_of([&] { launch(queue, {.name = "stuck", .grid = {}, .block = {64}}, wait_for_each_other); }),
        AllOf(HasSubstr("63 of 64 threads wait at a barrier"),
              HasSubstr("but thread (40, 0, 0) waits at __syncwarp at "), HasSubstr("mask 0x00000300")));
  }
}

TEST(SimtBarrier, QueueServesOnAfterAFault) {
  Queue queue({.threads = 2});
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(
        fault_of([&] { launch(queue, {.name = "broken", .grid = {9}, .block = {64}}, return_early, 1); }),
        "");
    EXPECT_EQ(
        fault_of([&] { launch(queue, {.name = "whole", .grid = {9}, .block = {64}}, return_early, 64); }),
        "");
  }
}

void nothing() {}

TEST(SimtLaunch, RefusesShapesThatNoGpuTakes) {
  Queue queue;
  launch(queue, {.name = "nothing", .grid = {0}, .block = {32}}, nothing);
  EXPECT_THROW(launch(queue, {.name = "n", .grid = {1, 65536}, .block = {32}}, nothing),
               std::invalid_argument);
  EXPECT_THROW(launch(queue, {.name = "n", .grid = {1}, .block = {1025}}, nothing), std::invalid_argument);
  EXPECT_THROW(launch(queue, {.name = "n", .grid = {1}, .block = {32}, .shared_bytes = 1 << 20}, nothing),
               std::invalid_argument);
}

void where_am_i(int* places) {
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int threads = blockDim.x * blockDim.y * blockDim.z;
  places[block * threads + thread_rank()] += 1 + threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z +
                                             1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
}

TEST(SimtLaunch, RunsEveryThreadOnce) {
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<int> places(2 * 3 * 4 * 5 * 6 * 7);
    launch(queue, {.name = "where", .grid = {2, 3, 4}, .block = {5, 6, 7}}, where_am_i, places.data());
    size_t i = 0;
    for (int bz = 0; bz < 4; ++bz)
      for (int by = 0; by < 3; ++by)
        for (int bx = 0; bx < 2; ++bx)
          for (int z = 0; z < 7; ++z)
            for (int y = 0; y < 6; ++y)
              for (int x = 0; x < 5; ++x)
                ASSERT_EQ(places[i++], 1 + x + 10 * y + 100 * z + 1000 * bx + 10000 * by + 100000 * bz);
  }
}

}  // namespace
}  // namespace scrawl::simt
