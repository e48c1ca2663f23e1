#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace scrawl {

/// How many threads run a GPU kernel: a grid of blocks of threads.
struct LaunchShape {
  struct Size {
    int64_t x = 1, y = 1, z = 1;
    int64_t count() const { return x * y * z; }
  };
  std::string_view name;  // of the kernel, for messages and profiles
  Size grid, block;
  int64_t shared_bytes = 0;  // of dynamic shared memory

  /// "kernel layer_norm.forward, grid (12, 1, 1), block (256, 1, 1), 0 bytes of shared memory"
  std::string describe() const;
  /// Throws std::invalid_argument when the shape breaks a limit that all GPUs share.
  void check() const;
};

}  // namespace scrawl
