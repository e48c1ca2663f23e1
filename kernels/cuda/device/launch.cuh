#pragma once
// Starting a kernel, from the host:
//   launch(queue, {.name = args.name, .grid = {blocks}, .block = {256}}, forward<float>, args...);
// Grid y and z end at 65,535, so rows go on x.  An empty grid is no work.  Errors name kernel and sizes.
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/device/backend.cuh"
#include "kernels/launch_shape.h"
#ifdef __CUDACC__
#include "kernels/cuda/runtime/launch.h"
#else
#include "kernels/simt/launch.h"
#include "kernels/simt/queue.h"
#endif

namespace scrawl::SCRAWL_GPU {

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

#ifdef __CUDACC__

template <typename... Parameters>
void launch(Queue& queue, const LaunchShape& shape, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  if (!begin_launch(queue, shape, reinterpret_cast<const void*>(kernel))) return;
  const auto size = [](const LaunchShape::Size& s) {
    return dim3(static_cast<unsigned>(s.x), static_cast<unsigned>(s.y), static_cast<unsigned>(s.z));
  };
  kernel<<<size(shape.grid), size(shape.block), shape.shared_bytes, queue.stream()>>>(arguments...);
  end_launch(queue, shape);
}

#endif

}  // namespace scrawl::SCRAWL_GPU
