// The kernel of graph_clears.cpp.
#include "kernels/cuda/runtime/graph_clears.h"

namespace scrawl::cuda {

namespace {

/// A thread sets a byte.
__global__ void set_bytes(unsigned char* to, unsigned value, unsigned value_bytes) {
  to[threadIdx.x] = static_cast<unsigned char>(value >> 8 * (threadIdx.x % value_bytes));
}

}  // namespace

void* set_bytes_kernel() {
  return reinterpret_cast<void*>(set_bytes);
}

}  // namespace scrawl::cuda
