// Adds parts of a weight gradient: a thread takes four neighbouring values of every so many parts, and
// threads that share them add up by a tree, so that none adds more than a few.
// Cost: one read of the parts, which the second-level cache holds.
#include "kernels/cuda/convolution/weight_parts.cuh"

#include "kernels/cuda/device/columns.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

__global__ void __launch_bounds__(kColumnThreads)
    add_parts(const float* parts, int count, int64_t stride, int64_t weights, int outputs, float* dw,
              float* dbias, bool accumulate) {
  const int64_t index = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 4;
  const auto total = sum_of_rows<4>(parts + index, stride, 0, index < stride ? count : 0);
  if (threadIdx.y > 0) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int64_t output = index + i - weights;
    if (output >= (dbias ? outputs : 0)) return;
    float& to = output < 0 ? dw[index + i] : dbias[output];
    to = (accumulate ? to : 0.0f) + total[i];
  }
}

}  // namespace

void add_weight_parts(const WeightParts& parts, const ConvolutionBackwardWeight& args, Queue& queue) {
  int groups = 1;
  while (groups < 32 && 4 * groups < parts.count) groups *= 2;
  const int lanes = kColumnThreads / groups;
  const LaunchShape shape{
      .name = args.name, .grid = {ceil_div(parts.stride, 4 * lanes)}, .block = {lanes, groups}};
  launch(queue, shape, add_parts, parts.dw, static_cast<int>(parts.count), parts.stride, args.shape.weights(),
         args.shape.out_channels, args.dw, args.dbias, args.accumulate);
}

}  // namespace scrawl::SCRAWL_GPU
