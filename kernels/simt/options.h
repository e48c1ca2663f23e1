#pragma once
#include <cstdint>

namespace scrawl::simt {

/// In which order blocks, and threads between two barriers, take their turns.  A correct kernel gives the
/// same bits in any order; one with a race seldom does.
enum class Order { forward, reverse, shuffled };

struct Options {
  Order order = Order::forward;
  uint64_t seed = 0;            // of the shuffled order
  int threads = 0;              // of the operating system, which run blocks side by side; 0 = all cores
  int multiprocessors = 4;      // that kernels believe to have: few, so that small tests reach every loop
  int compute_capability = 90;  // of the GPU that kernels believe to run on
};

}  // namespace scrawl::simt
