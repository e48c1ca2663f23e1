#pragma once
// Kernels that treat flat arrays value by value: a thread takes 16 bytes of every operand at once, threads
// beyond the last whole pack take one value each.
#include <initializer_list>

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace scrawl::SCRAWL_GPU {

/// For the host: how many neighbouring values may be loaded together: `values`, or 1 if one of the pointers
/// is not aligned to 16 bytes.  See with_pack_width().
inline int64_t packable(int64_t values, std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers)
    if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) return 1;
  return values;
}

inline constexpr int kElementwiseThreads = 256;

/// Calls body.operator()<width>(index) for every pack, then body.operator()<1>(index) for what is left.
template <int width, typename Body>
__global__ void __launch_bounds__(kElementwiseThreads)
    elementwise(Body body, int64_t packs, int64_t elements) {
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread < packs) return body.template operator()<width>(thread * width);
  const int64_t index = packs * width + (thread - packs);
  if (index < elements) body.template operator()<1>(index);
}

/// Launches it over arrays of type T.  Value by value if one of the pointers is not aligned to 16 bytes.
template <typename T, typename Body>
void launch_elementwise(Queue& queue, std::string_view name, int64_t elements,
                        std::initializer_list<const void*> pointers, Body body) {
  constexpr int width = kPackWidth<T>;
  const int64_t packs = packable(width, pointers) == width ? elements / width : 0;
  const int64_t threads = packs + elements - packs * width;
  launch(queue,
         {.name = name, .grid = {ceil_div(threads, kElementwiseThreads)}, .block = {kElementwiseThreads}},
         elementwise<width, Body>, body, packs, elements);
}

}  // namespace scrawl::SCRAWL_GPU
