#pragma once
#include <string>
#include <vector>

#include "kernels/cuda/device/launch.cuh"
#include "kernels/simt/fault.h"

namespace scrawl::simt {

/// The message of the fault that `run` throws; empty if it throws none.
template <typename Run>
std::string fault_of(Run run) {
  try {
    run();
  } catch (const Fault& fault) {
    return fault.what();
  }
  return {};
}

/// Options of queues that a correct kernel must give the same bits on.
inline std::vector<Options> orders() {
  std::vector<Options> all = {{.order = Order::forward, .threads = 1},
                              {.order = Order::reverse, .threads = 1},
                              {.order = Order::forward, .threads = 3}};
  for (uint64_t seed = 0; seed < 4; ++seed)
    all.push_back({.order = Order::shuffled, .seed = seed, .threads = 1, .multiprocessors = 4});
  return all;
}

}  // namespace scrawl::simt
