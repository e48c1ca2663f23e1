#pragma once
// Sums of what blocks of the attention kernels leave of one gradient.  Threads share the copies of a pack, so
// that none adds more than a few one after another: a hundred copies of few values keep a GPU as busy as a
// few copies of many.
#include <numeric>

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

/// From one copy of a gradient to the next in scratch: every copy is aligned.
__host__ __device__ constexpr int64_t copy_stride(int64_t elements) {
  return (elements + 3) / 4 * 4;
}

/// target (+)= Σ of `count` copies of it; no copies: nothing is to be done.
template <typename T>
struct CopiesSum {
  const float* copies;
  int count;
  int64_t elements;
  T* target;
  bool accumulate;
};

/// Two sums in one launch; the first takes `first_blocks` blocks.
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    add_copies(CopiesSum<T> first, CopiesSum<T> second, unsigned first_blocks) {
  const bool is_first = blockIdx.x < first_blocks;
  const CopiesSum<T> sum = is_first ? first : second;
  const unsigned block = is_first ? blockIdx.x : blockIdx.x - first_blocks;
  const int64_t index = (int64_t{block} * blockDim.x + threadIdx.x) * width;
  const bool exists = index < sum.elements;
  auto total = sum_of_rows<width>(sum.copies + index, copy_stride(sum.elements), 0, exists ? sum.count : 0);
  if (threadIdx.y > 0 || !exists) return;
  if (sum.accumulate) {
    const auto before = load<width>(sum.target + index);
#pragma unroll
    for (int i = 0; i < width; ++i) total[i] += before[i];
  }
  store<width>(sum.target + index, total);
}

/// Which threads share copies depends on their numbers alone, and so do the sums' bits.
template <typename T>
void launch_add_copies(Queue& queue, std::string_view name, const CopiesSum<T>& first,
                       const CopiesSum<T>& second) {
  int groups = 1;
  while (groups < 32 && 4 * groups < std::max(first.count, second.count)) groups *= 2;
  const int lanes = kColumnThreads / groups;
  const int64_t common = std::gcd(first.elements, second.elements);
  with_pack_width<T>(packable(common, {first.target, second.target}), [&](auto width) {
    const auto blocks = [&](const CopiesSum<T>& sum) {
      return sum.count > 0 ? ceil_div(sum.elements, lanes * width) : 0;
    };
    launch(queue, {.name = name, .grid = {blocks(first) + blocks(second)}, .block = {lanes, groups}},
           add_copies<T, width>, first, second, static_cast<unsigned>(blocks(first)));
  });
}

}  // namespace scrawl::SCRAWL_GPU
