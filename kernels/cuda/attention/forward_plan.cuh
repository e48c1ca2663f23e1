#pragma once
// How attend_mma() spreads over a GPU, from sizes alone.  Where heads and queries fill it, a warp takes 32
// queries and all of their keys; elsewhere 16 queries, and two or four warps of a block share the keys, so
// that more warps have fewer steps to go through.
#include "kernels/cuda/attention/panels.cuh"

namespace scrawl::SCRAWL_GPU {

/// How many times 16 queries a warp takes that has all keys: as many as registers hold the results of.
template <int D>
inline constexpr int kForwardTiles = D <= 64 ? 2 : 1;
/// Blocks that share a multiprocessor, by registers.
template <int D, int tiles>
inline constexpr int kForwardResident = D <= 64 && tiles == 1 ? 4 : 3;
inline constexpr int kForwardKeys = 32;  // of one step

struct ForwardPlan {
  int shares;  // warps that share the keys of their queries
  int list_entries;
  unsigned blocks;  // of a head
};

/// Keys of a panel: a step for every warp, and no less than 64.
__host__ __device__ constexpr int panel_room(int shares) {
  return kForwardKeys * (shares > 2 ? shares : 2);
}

constexpr int block_queries(int tiles, int shares) {
  return 16 * tiles * kPanelWarps / shares;
}

/// What a launch should take on an H200 in µs.  Blocks of a wave begin together, a warp of each on each of
/// four schedulers.  A step of 32 keys takes a warp 1.4 µs alone and 2.2 µs beside two others, measured where
/// warps take 32 queries of 64 values; that fewer queries save instructions but not the way through a step is
/// reckoned.  Keys and values come from the second-level cache at 5 TB/s.
template <int D>
double forward_time(int tiles, int shares, int64_t heads, int queries, int keys) {
  constexpr int64_t kMultiprocessors = 132, kSharedBytes = 227 * 1024;
  const double work = tiles * D / 64.0, latency = 0.46 + 0.24 * work, issue = 0.04 + 0.19 * work;
  const double fixed = 1.5 + (shares > 1 ? 0.3 + 0.05 * shares : 0.0);
  const double load = 4e-6 * keys * D / (5.0 / kMultiprocessors);
  const double steps = static_cast<double>(ceil_div(keys, kForwardKeys * shares));
  const int64_t by_registers = tiles == 1 ? kForwardResident<D, 1> : kForwardResident<D, 2>;
  const int64_t resident =
      std::min(by_registers, kSharedBytes / (KeyPanels<D, false>::bytes(keys, panel_room(shares)) + 1024));
  const auto wave = [&](int64_t blocks) {
    const auto n = static_cast<double>(blocks);
    return blocks > 0 ? fixed + std::max(n * load, steps * (latency + n * issue)) : 0.0;
  };
  const int64_t busiest = ceil_div(heads * ceil_div(queries, block_queries(tiles, shares)), kMultiprocessors);
  return static_cast<double>(busiest / resident) * wave(resident) + wave(busiest % resident);
}

/// Warps that share keys: more than one where that promises a tenth less time, and a block's shared memory
/// exists on all GPUs.
template <int D>
int shares_of_keys(int64_t heads, int queries, int keys) {
  double least = 0.9 * forward_time<D>(kForwardTiles<D>, 1, heads, queries, keys);
  int best = 1;
  for (const int shares : {2, 4}) {
    if (KeyPanels<D, false>::bytes(keys, panel_room(shares)) > 96 * 1024) continue;
    const double time = forward_time<D>(1, shares, heads, queries, keys);
    if (time >= least) continue;
    least = time;
    best = shares;
  }
  return best;
}

}  // namespace scrawl::SCRAWL_GPU
