// Shared memory: what is unwritten shows, what is written beside an array is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>
#include <vector>

#include "engine/memory.h"
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "tests/kernels/simt/broken.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define SCRAWL_SKIP_UNDER_ASAN GTEST_SKIP() << "the address sanitizer ends the program first"
#else
#define SCRAWL_SKIP_UNDER_ASAN static_assert(true)
#endif

namespace scrawl::simt {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

void arrays_apart(int* x) {
  auto& first = shared<int[32], struct First>();
  auto& second = shared<int[32], struct Second>();
  int* third = dynamic_shared<int>();
  first[threadIdx.x] = 1;
  second[threadIdx.x] = 2;
  third[threadIdx.x] = 3;
  __syncthreads();
  x[threadIdx.x] = first[31 - threadIdx.x] + 10 * second[31 - threadIdx.x] + 100 * third[31 - threadIdx.x];
}

TEST(SimtSharedMemory, KeepsArraysApart) {
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<int> x(32);
    launch(queue, {.name = "arrays", .grid = {}, .block = {32}, .shared_bytes = 128}, arrays_apart, x.data());
    EXPECT_THAT(x, Each(321));
  }
}

void read_unwritten(float* x, int written) {
  auto& tile = shared<float[32], struct Tile>();
  if (static_cast<int>(threadIdx.x) < written) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  x[threadIdx.x] = tile[31 - threadIdx.x];
}

TEST(SimtSharedMemory, ReadsOfUnwrittenShowAsNan) {
  Queue queue({.threads = 1});
  std::vector<float> x(32);
  // The second launch reuses memory that the first one wrote.
  launch(queue, {.name = "whole", .grid = {2}, .block = {32}}, read_unwritten, x.data(), 32);
  EXPECT_THAT(x, Each(1.0f));
  launch(queue, {.name = "broken", .grid = {2}, .block = {32}}, read_unwritten, x.data(), 31);
  EXPECT_TRUE(std::isnan(x[0]));
  EXPECT_EQ(x[1], 1.0f);
}

void read_unwritten_scratch(const float* scratch, float* x) {
  x[threadIdx.x] = scratch[threadIdx.x];
}

TEST(SimtSharedMemory, UnwrittenScratchShowsAsNan) {
  Queue queue;
  float x = 0.0f;
  queue.scratch(4).data()[0] = 1.0f;
  launch(queue, {.name = "broken", .grid = {}, .block = {}}, read_unwritten_scratch, queue.scratch(4).data(),
         &x);
  EXPECT_TRUE(std::isnan(x));
}

void write_beside_array(int index) {
  auto& tile = shared<float[33], struct Tile>();
  tile[0] = 0.0f;
  float* first = tile;
  first[index + static_cast<int>(threadIdx.x)] = 1.0f;
}

void write_beside_dynamic(int index) {
  dynamic_shared<unsigned char>()[index] = 1;
}

TEST(SimtSharedMemory, NamesWritesBesideAnArray) {
  SCRAWL_SKIP_UNDER_ASAN;
  Queue queue;
  const auto array = [&](int index) {
    return fault_of(
        [&] { launch(queue, {.name = "beside", .grid = {}, .block = {32}}, write_beside_array, index); });
  };
  EXPECT_EQ(array(1), "");
  EXPECT_THAT(array(2),
              AllOf(HasSubstr("kernel beside, block (0, 0, 0)"), HasSubstr("byte 132 of an array of 132")));
  EXPECT_THAT(array(-1), HasSubstr("wrote"));
  const auto dynamic = [&](int index) {
    return fault_of([&] {
      launch(queue, {.name = "b", .grid = {}, .block = {}, .shared_bytes = 77}, write_beside_dynamic, index);
    });
  };
  EXPECT_EQ(dynamic(76), "");
  EXPECT_THAT(dynamic(77), HasSubstr("byte 77 of dynamic memory of 77"));
  EXPECT_THAT(dynamic(-1), HasSubstr("byte -1 of dynamic memory of 77"));
}

TEST(SimtSharedMemoryDeathTest, AddressSanitizerStopsTheAccess) {
#ifdef __SANITIZE_ADDRESS__
  const auto run = [](auto kernel, int index) {
    Queue queue({.threads = 1});
    launch(queue, {.name = "b", .grid = {}, .block = {32}, .shared_bytes = 77}, kernel, index);
  };
  EXPECT_DEATH(run(write_beside_array, 2), "AddressSanitizer: use-after-poison");
  EXPECT_DEATH(run(write_beside_dynamic, 77), "AddressSanitizer: use-after-poison");
  run(write_beside_array, 1);
  run(write_beside_dynamic, 76);
  Allocator memory;
  Queue queue(memory);
  const Scratch scratch = queue.scratch(5);
  const float* const stale = queue.scratch(5).data();
  float x = 0.0f;
  const auto read = [&](const float* from) {
    launch(queue, {.name = "b", .grid = {}, .block = {}}, read_unwritten_scratch, from, &x);
  };
  read(scratch.data() + 4);
  EXPECT_DEATH(read(scratch.data() + 5), "AddressSanitizer: use-after-poison");
  EXPECT_DEATH(read(stale), "AddressSanitizer: use-after-poison");
#else
  GTEST_SKIP() << "built without the address sanitizer";
#endif
}

#ifdef __SANITIZE_ADDRESS__
void note_frame(void** frame) {
  *frame = __builtin_frame_address(0);
}

// The next thread's own variables may lie where a thread's stack was.
TEST(SimtThread, LeavesNoMarksOfTheSanitizerBehind) {
  void* frame = nullptr;
  std::thread([&] {
    Queue queue({.threads = 1});
    launch(queue, {.name = "f", .grid = {}, .block = {32}}, note_frame, &frame);
  }).join();
  EXPECT_EQ(__asan_region_is_poisoned(static_cast<char*>(frame) - 8192, 8192 + 1024), nullptr);
}
#endif

void too_much() {
  shared<float[12 * 1024 + 1], struct Tile>()[0] = 0.0f;
}

TEST(SimtSharedMemory, RefusesMoreThanAGpuHas) {
  Queue queue;
  EXPECT_THAT(fault_of([&] { launch(queue, {.name = "much", .grid = {}, .block = {}}, too_much); }),
              HasSubstr("48 KiB"));
}

void load_at(const float* x, float* y) {
  store<4>(y, load<4>(x));
}

TEST(SimtVector, RefusesAddressesThatAreNotAligned) {
  Queue queue;
  alignas(16) float x[8] = {}, y[8];
  const auto run = [&](int from, int to) {
    return fault_of(
        [&] { launch(queue, {.name = "vector", .grid = {}, .block = {}}, load_at, x + from, y + to); });
  };
  EXPECT_EQ(run(0, 4), "");
  EXPECT_THAT(run(1, 0), HasSubstr("16 bytes at an address that is not a multiple"));
  EXPECT_THAT(run(0, 2), HasSubstr("16 bytes at an address that is not a multiple"));
}

// --- asynchronous copies ----------------------------------------------------------------------------------

/// Each thread copies 16 bytes in each of two groups and sums its first group, then its second.
void sum_copies(const float* x, float* y, int waited) {
  auto& tile = shared<float[2][32][4], struct Tile>();
  const int t = threadIdx.x;
  copy_async<16>(tile[0][t], x + 4 * t);
  commit_copies();
  copy_async<16>(tile[1][t], x + 128 + 4 * t, t != 5);  // thread 5 gets zeros
  commit_copies();
  if (waited >= 1) wait_copies<1>();
  __syncthreads();
  y[t] = tile[0][31 - t][0] + tile[0][31 - t][3];
  if (waited >= 2) wait_copies();
  __syncthreads();
  y[32 + t] = tile[1][31 - t][0] + tile[1][31 - t][3];
  __syncthreads();
  if (waited >= 0) wait_copies();
}

TEST(SimtAsyncCopy, ArrivesWhenWaitedFor) {
  std::vector<float> x(256 + 4);
  float* from = x.data();
  while (reinterpret_cast<uintptr_t>(from) % 16) ++from;
  for (int i = 0; i < 256; ++i) from[i] = static_cast<float>(i);
  for (const Options& options : orders()) {
    Queue queue(options);
    std::vector<float> y(64);
    const auto run = [&](int waited) {
      return fault_of([&] {
        launch(queue, {.name = "copies", .grid = {}, .block = {32}}, sum_copies, from, y.data(), waited);
      });
    };
    EXPECT_EQ(run(2), "");
    for (int i = 0; i < 32; ++i) {
      EXPECT_EQ(y[i], 8 * (31 - i) + 3);
      EXPECT_EQ(y[32 + i], i == 31 - 5 ? 0 : 2 * 128 + 8 * (31 - i) + 3);
    }
    EXPECT_EQ(run(1), "");
    EXPECT_EQ(y[0], 8 * 31 + 3);
    EXPECT_TRUE(std::isnan(y[32 + 3]));
    EXPECT_EQ(run(0), "");
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_THAT(run(-1),
                AllOf(HasSubstr("ends without having waited"), HasSubstr("shared_memory_test.cpp:")));
  }
}

void copy_to_global(const float* x, float* y) {
  copy_async<4>(y, x);
  commit_copies();
  wait_copies();
}

TEST(SimtAsyncCopy, GoesToSharedMemoryOnly) {
  Queue queue;
  float x = 0.0f, y = 0.0f;
  EXPECT_THAT(
      fault_of([&] { launch(queue, {.name = "c", .grid = {}, .block = {}}, copy_to_global, &x, &y); }),
      HasSubstr("something else than shared memory"));
}

}  // namespace
}  // namespace scrawl::simt
