// Depthwise 3×3 + bias + GELU, forward; tile.cuh says how threads walk the map.  What
// strips.cuh can do on tensor cores is left to it.
// Cost: one read and write of every map; each band reads up to two rows more.  In bf16 about 28 instructions
// a value (counted for compute capability 9.0).
#include "kernels/depthwise_gelu.h"

#include "kernels/cuda/depthwise/strips.h"
#include "kernels/cuda/depthwise/tile.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

using namespace depthwise;

template <int pack, typename T>
struct ForwardMemory {
  StagedRow<pack, T> x[kStages];
};

template <int pack, typename T>
__global__ void __launch_bounds__(kMostThreads, 2) forward(DepthwiseGeluForward args, Tiling tiling) {
  const Place<pack> place(tiling);
  auto& memory = *dynamic_shared<ForwardMemory<pack, T>>();
  int row = max(place.first - 1, 0);
  Stream<pack, T> x(static_cast<const T*>(args.x), tiling, place, row);
  for (int stage = 0; stage < kStages; ++stage) {
    x.copy_row(row + stage, memory.x[stage]);
    commit_copies();
    if (threadIdx.y == 0) memory.x[stage].clear_ends(place.group, tiling.groups);
  }
  Target<pack, T> y(static_cast<T*>(args.y), tiling, place, place.first);
  const Taps<pack> taps(args.w, args.bias, tiling);
  wait_copies<kStages - 1>();
  __syncthreads();

  Sums<pack> sums(taps.bias);
  const auto step = [&](int stage) {
    sums.add_row(Pixels<pack, T>(memory.x[stage], place.group), taps);
    wait_copies<kStages - 2>();
    __syncthreads();
    if (row + kStages <= place.end) x.copy_row(row + kStages, memory.x[stage]);
    commit_copies();
    if (row > place.first) {
      Floats<pack> values[kColumns];
#pragma unroll
      for (int i = 0; i < kColumns; ++i) values[i] = activated<T>(sums.rows[0][i]);
      y.store_row(values);
    }
    sums.move_down(taps.bias);
    return row++ < place.end;
  };
  while (step(0) && step(1) && step(2)) continue;
  wait_copies();
}

}  // namespace

void run(const DepthwiseGeluForward& args, Queue& queue) {
  if (run_by_strips(args, queue)) return;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack<T>(args.channels, {args.x, args.y}, [&](auto pack) {
      const Tiling tiling(args.images, args.height, args.width, args.channels, pack);
      launch(queue, tiling.shape(args.name, args.images, sizeof(ForwardMemory<pack, T>)), forward<pack, T>,
             args, tiling);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
