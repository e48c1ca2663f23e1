// Residual sum with stochastic depth: one pass, bound by memory (forward two reads and a write).  A block
// stays within one image, and a thread takes several packs of it, so that ten rounds of Philox for the
// image's scale weigh little; all its loads are under way before the first sum.
#include "kernels/residual.h"

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256;
constexpr int kSteps = 4;  // packs of a thread

/// y = base + scale(image) · x, or scale(image) · x alone; base may be y itself.
template <typename T, int width, bool has_base>
__global__ void __launch_bounds__(kThreads)
    add_scaled(const T* base, const T* x, T* y, DropPath drop_path, int64_t packs, int blocks_per_image) {
  const unsigned image = blockIdx.x / blocks_per_image;
  const int64_t first = int64_t{blockIdx.x % blocks_per_image} * (kThreads * kSteps) + threadIdx.x;
  const int64_t offset = image * packs * width;
  Pack<T, width> bases[kSteps], values[kSteps];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t pack = first + step * kThreads;
    if (pack >= packs) continue;
    values[step] = load_pack<width>(x + offset + pack * width);
    if constexpr (has_base) bases[step] = load_pack<width>(base + offset + pack * width);
  }
  const float scale = drop_path.scale(image);
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t pack = first + step * kThreads;
    if (pack >= packs) continue;
    Floats<width> sums{};
#pragma unroll
    for (int i = 0; i < width; ++i) {
      if constexpr (has_base) sums[i] = as_float(bases[step][i]);
      sums[i] += scale * as_float(values[step][i]);
    }
    store<width>(y + offset + pack * width, sums);
  }
}

template <typename Arguments>
void launch_add_scaled(const Arguments& args, const void* base, const void* x, void* y, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(args.elements, {base, x, y}), [&](auto width) {
      const int64_t packs = args.elements / width, blocks = ceil_div(packs, kThreads * kSteps);
      launch(queue, {.name = args.name, .grid = {args.images * blocks}, .block = {kThreads}},
             base != nullptr ? add_scaled<T, width, true> : add_scaled<T, width, false>,
             static_cast<const T*>(base), static_cast<const T*>(x), static_cast<T*>(y), args.drop_path, packs,
             static_cast<int>(blocks));
    });
  });
}

}  // namespace

void run(const ResidualForward& args, Queue& queue) {
  launch_add_scaled(args, args.x, args.branch, args.y, queue);
}

void run(const ResidualBackward& args, Queue& queue) {
  launch_add_scaled(args, args.accumulate ? args.dbranch : nullptr, args.dy, args.dbranch, queue);
}

}  // namespace scrawl::SCRAWL_GPU
