// Kernels with a race that no order of turns shows, beside the same without it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/last_block.cuh"
#include "kernels/cuda/device/stages.cuh"
#include "kernels/cuda/device/stand_in.cuh"
#include "kernels/cuda/device/warp.cuh"
#include "tests/kernels/simt/broken.h"

namespace scrawl::simt {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// What the race detector says of a kernel of one block, or several, with memory for a number a thread and
/// two more, the first of which is 0.
std::string verdict(int blocks, int threads, void (*kernel)(int* memory, bool right), bool right,
                    int64_t shared_bytes = 0) {
  Queue queue;
  const Scratch memory = queue.scratch(2 + blocks * threads);
  std::fill_n(memory.data(), 1, 0.0f);
  const LaunchShape shape{
      .name = "broken", .grid = {blocks}, .block = {threads}, .shared_bytes = shared_bytes};
  return fault_of([&] { launch(queue, shape, kernel, reinterpret_cast<int*>(memory.data()), right); });
}

// --- threads ----------------------------------------------------------------------------------------------

void reads_neighbour(int* memory, bool right) {
  auto& values = shared<int[64], struct Values>();
  values[threadIdx.x] = 1;
  if (right) __syncthreads();
  memory[threadIdx.x] = values[threadIdx.x ^ 32];
}
TEST(Races, ReadBehindAWriteNeedsABarrier) {
  EXPECT_THAT(verdict(1, 64, reads_neighbour, true), IsEmpty());
  EXPECT_THAT(verdict(1, 64, reads_neighbour, false),
              AllOf(HasSubstr("kernel broken, block (0, 0, 0)"), HasSubstr("has a race"),
                    HasSubstr("of shared memory at race_test.cpp:"), HasSubstr("nothing orders the two")));
}

void writes_again(int* memory, bool right) {
  auto& values = shared<int[64], struct Values>();
  values[threadIdx.x] = 1;
  __syncthreads();
  memory[threadIdx.x] = values[threadIdx.x ^ 32];
  if (right) __syncthreads();
  values[threadIdx.x] = 2;
}
TEST(Races, WriteBehindAReadNeedsABarrier) {
  EXPECT_THAT(verdict(1, 64, writes_again, true), IsEmpty());
  EXPECT_THAT(verdict(1, 64, writes_again, false), HasSubstr("has a race"));
}

void reads_lane(int* memory, bool right) {
  auto& values = shared<int[32], struct Values>();
  values[threadIdx.x] = 1;
  if (right) __syncwarp();
  // Lanes wait for one another here, but a shuffle orders no accesses to memory.
  const int other = __shfl_xor_sync(kFullWarp, static_cast<int>(threadIdx.x), 1);
  memory[threadIdx.x] = values[other];
}
TEST(Races, LanesNeedABarrierOfTheirWarp) {
  EXPECT_THAT(verdict(1, 32, reads_lane, true), IsEmpty());
  EXPECT_THAT(verdict(1, 32, reads_lane, false), HasSubstr("has a race"));
}

void counts(int* memory, bool right) {
  auto& counter = shared<int, struct Counter>();
  if (threadIdx.x == 0) counter = 0;
  __syncthreads();
  if (right)
    atomicAdd(&counter, 1);
  else
    counter += 1;
  __syncthreads();
  memory[threadIdx.x] = counter;
}
TEST(Races, CountingNeedsAtomicOperations) {
  EXPECT_THAT(verdict(1, 64, counts, true), IsEmpty());
  EXPECT_THAT(verdict(1, 64, counts, false), HasSubstr("has a race"));
}

void swaps_in_place(int* memory, bool right) {
  memory[threadIdx.x] = 1;
  __syncthreads();
  const int other = memory[threadIdx.x ^ 1];
  if (right) __syncthreads();
  memory[threadIdx.x] = other;
}
TEST(Races, GlobalMemoryIsWatchedToo) {
  EXPECT_THAT(verdict(1, 64, swaps_in_place, true), IsEmpty());
  EXPECT_THAT(verdict(1, 64, swaps_in_place, false), HasSubstr("global memory at"));
}

void reads_what_it_lacks(int* memory, bool right) {
  memory[threadIdx.x] = 1;
  __syncthreads();
  const bool exists = threadIdx.x < 63;
  if (right) reads_stand_in(!exists);
  auto& values = shared<int[64], struct Values>();  // or the compiler would not read
  const int value = values[threadIdx.x] = memory[exists ? threadIdx.x : 62];
  if (exists) memory[threadIdx.x] = value + 1;
}
TEST(Races, StandInsAreNone) {
  EXPECT_THAT(verdict(1, 64, reads_what_it_lacks, true), IsEmpty());
  EXPECT_THAT(verdict(1, 64, reads_what_it_lacks, false), HasSubstr("thread (63, 0, 0)"));
}

// --- blocks -----------------------------------------------------------------------------------------------

void reads_other_block(int* memory, bool) {
  memory[blockIdx.x] = 1;
  if (blockIdx.x == 1) memory[2] = memory[0];
}
TEST(Races, BlocksAreInNoOrder) {
  EXPECT_THAT(verdict(2, 1, reads_other_block, false), HasSubstr("global memory, block number 0"));
}

/// Memory: a counter, then a number from each block.
void last_block_adds(int* memory, bool right) {
  auto& last = shared<bool, struct Last>();
  auto* counter = reinterpret_cast<unsigned*>(memory);
  memory[1 + blockIdx.x] = 1;
  if (right) __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(counter, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  int sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += memory[1 + i];
  memory[1 + gridDim.x] = sum;
}
TEST(Races, TheLastBlockReadsWhatAFenceHasShown) {
  EXPECT_THAT(verdict(3, 1, last_block_adds, true), IsEmpty());
  EXPECT_THAT(verdict(3, 1, last_block_adds, false), HasSubstr("global memory, block number"));
}

// --- copies and products ----------------------------------------------------------------------------------

void copies_beside(int* memory, bool right) {
  auto& values = shared<int[64][4], struct Values>();
  const int thread = threadIdx.x;
  memory[thread] = thread;
  __syncthreads();
  copy_async<16>(values[thread], memory + thread / 4 * 4);
  commit_copies();
  wait_copies<0>();
  if (right) __syncthreads();
  const int other = values[thread ^ 32][0];
  __syncthreads();
  memory[thread] = other;
}
TEST(Races, WhatOthersHaveCopiedNeedsABarrier) {
  EXPECT_THAT(verdict(1, 64, copies_beside, true), IsEmpty());
  EXPECT_THAT(verdict(1, 64, copies_beside, false), HasSubstr("has a race"));
}

struct alignas(1024) Tile {
  bf16 values[64 * kTileColumns];
};

void multiply_tile(const bf16* tile) {
  FragmentD d[8];
  FragmentA a{};
  fence_products(d);
  start_product<Major::k>(d, a, tile_operand(tile), false);
  commit_products();
  wait_products<0>(d);
}

void set_tile(bf16* tile) {
  for (int i = threadIdx.x; i < 64 * kTileColumns; i += blockDim.x) tile[i] = bf16{};
}

void multiplies_what_it_wrote(int*, bool right) {
  auto& tile = *dynamic_shared<Tile>();
  set_tile(tile.values);
  if (right) show_products();
  __syncthreads();
  multiply_tile(tile.values);
}
TEST(Races, ProductsReadWhatHasBeenShown) {
  EXPECT_THAT(verdict(1, 128, multiplies_what_it_wrote, true, sizeof(Tile)), IsEmpty());
  EXPECT_THAT(verdict(1, 128, multiplies_what_it_wrote, false, sizeof(Tile)),
              AllOf(HasSubstr("a product of warpgroup 0 reads"), HasSubstr("nothing has shown")));
}

void reuses_registers(int* memory, bool right) {
  auto& tile = *dynamic_shared<Tile>();
  set_tile(tile.values);
  show_products();
  __syncthreads();
  FragmentD d[8];
  FragmentA a{};
  fence_products(d, a);
  start_product<Major::k>(d, a, tile_operand(tile.values), false);
  commit_products();
  if (right) wait_products<0>(d);
  a.words[0] = memory[threadIdx.x];
  wait_products<0>(d);
  fence_products(d, a);
  start_product<Major::k>(d, a, tile_operand(tile.values), false);
  commit_products();
  wait_products<0>(d);
}
TEST(Races, ProductsKeepTheirRegisters) {
  EXPECT_THAT(verdict(1, 128, reuses_registers, true, sizeof(Tile)), IsEmpty());
  EXPECT_THAT(verdict(1, 128, reuses_registers, false, sizeof(Tile)), HasSubstr("writes to a register at"));
}

/// Two warpgroups: the second writes again what the first one's product has read.
void writes_under_a_product(int*, bool right) {
  auto& tile = *dynamic_shared<Tile>();
  set_tile(tile.values);
  show_products();
  __syncthreads();
  if (threadIdx.x < kWarpgroupThreads) multiply_tile(tile.values);
  if (right) __syncthreads();
  if (threadIdx.x >= kWarpgroupThreads) tile.values[threadIdx.x] = bf16{};
}
TEST(Races, ProductsAreWaitedForByOthersToo) {
  EXPECT_THAT(verdict(1, 256, writes_under_a_product, true, sizeof(Tile)), IsEmpty());
  EXPECT_THAT(verdict(1, 256, writes_under_a_product, false, sizeof(Tile)),
              AllOf(HasSubstr("has a race"), HasSubstr("a product of warpgroup 0")));
}

struct alignas(1024) Stage {
  bf16 values[16 * kTileColumns];
  CopyBarrier arrived[2];
  float sums[64];
};

enum class Forgotten { nothing, barrier_after_start, wait, barrier_before_reuse, show };

/// Sums of two tiles that come to the same place one after the other.
template <Forgotten forgotten>
void sum_tiles(TensorMap map) {
  auto& stage = *dynamic_shared<Stage>();
  const auto start = [&](int step) {
    expect_bytes(stage.arrived[step], sizeof stage.values);
    copy_tile_bulk(stage.values, map, {{0, 0, 0, 0, 0}}, stage.arrived[step]);
  };
  if constexpr (forgotten == Forgotten::show) {
    stage.values[threadIdx.x] = bf16{};
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    for (CopyBarrier& each : stage.arrived) start_barrier(each);
    start(0);
  }
  if (forgotten != Forgotten::barrier_after_start) __syncthreads();
  if (forgotten != Forgotten::wait || threadIdx.x == 0) wait_for_phase(stage.arrived[0], 0);
  float sum = 0.0f;
  for (int i = 0; i < 16; ++i) sum += to_float(stage.values[i * kTileColumns + threadIdx.x]);
  if (forgotten != Forgotten::barrier_before_reuse) __syncthreads();
  if (threadIdx.x == 0) start(1);
  wait_for_phase(stage.arrived[1], 0);
  for (int i = 0; i < 16; ++i) sum += to_float(stage.values[i * kTileColumns + threadIdx.x]);
  stage.sums[threadIdx.x] = sum;
}

template <Forgotten forgotten>
std::string verdict_on_copies() {
  Queue queue;
  std::vector<bf16> values(16 * kTileColumns);
  const TensorMap map =
      tensor_map({.values = values.data(),
                  .sizes = {kTileColumns, 16, 1, 1, 1},
                  .strides = {kTileColumns, 16 * kTileColumns, 16 * kTileColumns, 16 * kTileColumns},
                  .tile = {16, 1, 1, 1}});
  const LaunchShape shape{.name = "broken", .grid = {1}, .block = {64}, .shared_bytes = sizeof(Stage)};
  return fault_of([&] { launch(queue, shape, sum_tiles<forgotten>, map); });
}

TEST(Races, CopiesAreInOrderWithReadsByPhasesAndBarriers) {
  EXPECT_THAT(verdict_on_copies<Forgotten::nothing>(), IsEmpty());
  EXPECT_THAT(verdict_on_copies<Forgotten::barrier_after_start>(), HasSubstr("has a race"));
  EXPECT_THAT(verdict_on_copies<Forgotten::wait>(), HasSubstr("a copy for barrier 0 has written"));
  EXPECT_THAT(verdict_on_copies<Forgotten::barrier_before_reuse>(),
              AllOf(HasSubstr("a copy for barrier 1 writes"), HasSubstr("has read at")));
  EXPECT_THAT(verdict_on_copies<Forgotten::show>(), HasSubstr("nothing has shown the latter to copies"));
}

}  // namespace
}  // namespace scrawl::simt
