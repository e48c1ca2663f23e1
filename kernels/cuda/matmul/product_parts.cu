// The sum of a product's parts, in order; a thread takes four neighbouring values.  Cost: one read of all
// parts, mostly from the second-level cache.
#include "kernels/cuda/matmul/product_parts.cuh"

#include "kernels/cuda/device/columns.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

__global__ void __launch_bounds__(kColumnThreads)
    add(const __grid_constant__ ProductParts product, const float* partials, MatMul args) {
  const int64_t index = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 4;
  const int64_t stride = product.part_stride();
  const auto total = sum_of_rows<4>(partials + index, stride, 0, index < stride ? product.parts : 0);
  if (threadIdx.y > 0) return;
  const int row = static_cast<int>(index / product.row_stride);
  const int column = static_cast<int>(index % product.row_stride);  // the same row: strides are whole packs
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float* target = nullptr;
    if (row < product.m && column + i < product.n)
      target = static_cast<float*>(args.c) + row * args.ldc + column + i;
    else if (const int64_t of_sum = index + i - int64_t{product.m} * product.row_stride;
             product.sum && of_sum >= 0 && of_sum < product.m)
      target = args.a_sum + of_sum;
    if (target) *target = (args.accumulate ? *target : 0.0f) + total[i];
  }
}

}  // namespace

void add_parts(const ProductParts& product, const float* partials, const MatMul& args, Queue& queue) {
  // Many parts are shared out among many threads, so that none adds more than a few.
  int groups = 8;
  while (groups < 32 && groups < product.parts) groups *= 2;
  const int lanes = kColumnThreads / groups;
  launch(queue,
         {.name = args.name, .grid = {ceil_div(product.part_stride(), 4 * lanes)}, .block = {lanes, groups}},
         add, product, partials, args);
}

}  // namespace scrawl::SCRAWL_GPU
