#include "kernels/launch_shape.h"

#include <fmt/format.h>

#include <stdexcept>

namespace scrawl {

namespace {

std::string text(const LaunchShape::Size& size) {
  return fmt::format("({}, {}, {})", size.x, size.y, size.z);
}

bool within(const LaunchShape::Size& size, int64_t x, int64_t y, int64_t z) {
  return size.x >= 0 && size.x <= x && size.y >= 0 && size.y <= y && size.z >= 0 && size.z <= z;
}

}  // namespace

std::string LaunchShape::describe() const {
  return fmt::format("kernel {}, grid {}, block {}, {} bytes of dynamic shared memory", name, text(grid),
                     text(block), shared_bytes);
}

void LaunchShape::check() const {
  if (!within(grid, 0x7FFFFFFF, 65535, 65535))
    throw std::invalid_argument(describe() + ": the grid exceeds (2147483647, 65535, 65535)");
  if (!within(block, 1024, 1024, 64) || block.count() < 1 || block.count() > 1024)
    throw std::invalid_argument(describe() + ": a block has 1 to 1024 threads, z up to 64");
  if (shared_bytes < 0 || shared_bytes > 227 * 1024)
    throw std::invalid_argument(describe() + ": a block has at most 227 KiB of shared memory");
}

}  // namespace scrawl
