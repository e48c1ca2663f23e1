// Depthwise 3×3 + bias + GELU, backward, in one pass (tile.cuh says how threads walk the map).  The
// value ahead of GELU is recomputed on the way down; of g = dy · gelu' the threads of a row exchange their
// outermost columns through shared memory, so that each has what dx of its pixels needs, and the same g serve
// dw, since
//   dx[r, c] = Σ w[ky, kx] g[r − ky + 1, c − kx + 1],   dw[ky, kx] = Σ x[r, c] g[r − ky + 1, c − kx + 1].
// A block leaves one partial sum of dw and dbias; the last block of some channels adds theirs in order.
// y and dx_sum come for a few instructions more, since the pass has all that they are made of.
// What strips.cuh can do on tensor cores is left to it.
// Cost: one read and write of every map; each band reads up to four rows more.  In bf16 about 53 instructions
// a value, 60 with y and dx_sum (counted for compute capability 9.0).  It takes all registers that two blocks
// leave each other: what could live in them is looked up or computed anew instead, as noted in places.
#include "kernels/cuda/depthwise/strips.h"
#include "kernels/cuda/depthwise/tile.cuh"
#include "kernels/cuda/device/last_block.cuh"
#include "kernels/depthwise_gelu.h"

namespace scrawl::SCRAWL_GPU {

namespace {

using namespace depthwise;

/// What a thread carries down its columns for the gradients.
template <int pack>
struct Gradients {
  Floats<pack> w[kTaps]{}, bias{};
  Floats<pack> own[3][kColumns]{};  // its pixels of x in the rows above, at and below that of g
  Floats<pack> dx[3][kColumns]{};   // sums of the same rows

  /// Adds to dx what g at a column does; 0 is the left neighbour of the thread's own.
  __device__ __forceinline__ void add_to_dx(int column, const Floats<pack>& g, const Taps<pack>& taps) {
#pragma unroll
    for (int kx = 0; kx < 3; ++kx) {
      const int i = column + kx - 2;
      if (i < 0 || i >= kColumns) continue;
#pragma unroll
      for (int ky = 0; ky < 3; ++ky) add_product(dx[ky][i], taps.w[3 * ky + kx], g);
    }
  }
  __device__ __forceinline__ void add_to_w(int column, const Floats<pack>& g) {
#pragma unroll
    for (int kx = 0; kx < 3; ++kx) {
      const int i = column + kx - 2;
      if (i < 0 || i >= kColumns) continue;
#pragma unroll
      for (int ky = 0; ky < 3; ++ky) add_product(w[3 * ky + kx], own[ky][i], g);
    }
  }
  __device__ __forceinline__ void add_to_bias(const Floats<pack>& g) {
#pragma unroll
    for (int i = 0; i < pack; ++i) bias[i] += g[i];
  }
  template <typename T>
  __device__ __forceinline__ void take_row(const Pixels<pack, T>& x) {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      own[0][i] = own[1][i];
      own[1][i] = own[2][i];
      own[2][i] = x.own(i);
    }
  }
  __device__ __forceinline__ void move_dx_down() {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      dx[0][i] = dx[1][i];
      dx[1][i] = dx[2][i];
      dx[2][i] = {};
    }
  }
};

/// The outermost columns of g of every group, left ones and right ones.
template <int pack>
struct EdgesOfG {
  Pack<float, pack> sides[2][kStagedGroups][kLanes];
};

template <int pack, typename T>
struct BackwardMemory {
  StagedRow<pack, T> x[kStages], dy[kStages];  // dy is one row above x
  EdgesOfG<pack> edges[kStages];
  Pack<float, pack> dx_sums[kStagedGroups][kLanes];  // of each thread
};

/// The sums that a block leaves for a channel: of the weights' gradients, of the bias's and, with `more`, of
/// dx.
template <bool more>
inline constexpr int kSums = kParameters + (more ? 1 : 0);
template <int pack, bool more>
struct AllSums {
  Pack<float, pack> values[kSums<more>][kMostThreads];
};

// For the kernel's end, by other operations than at its beginning: registers would keep the results.
__device__ __forceinline__ int rank_in(const Tiling& t) {
  return static_cast<int>((threadIdx.z * t.groups + threadIdx.y) * kLanes + threadIdx.x);
}
__device__ __forceinline__ unsigned part_of_block(const Tiling& t) {
  return blockIdx.x / static_cast<unsigned>(t.chunks);
}
__device__ __forceinline__ unsigned chunk_of_block(const Tiling& t) {
  return blockIdx.x % static_cast<unsigned>(t.chunks);
}

/// Adds the sums of all columns of the block, in order.
template <bool more, int pack>
__device__ void store_partial(const Gradients<pack>& gradients, const Floats<pack>& dx_sum, const Tiling& t,
                              float* partials) {
  auto& all = *dynamic_shared<AllSums<pack, more>>();
  const auto leave = [&](int sum, const Floats<pack>& values) {
    store<pack>(&all.values[sum][rank_in(t)][0], values);
  };
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap) leave(tap, gradients.w[tap]);
  leave(kTaps, gradients.bias);
  if constexpr (more) leave(kParameters, dx_sum);
  __syncthreads();
  constexpr int kSlice = kLanes * pack;
  const int count = t.slices * kSlice;
  const int64_t first = int64_t{chunk_of_block(t)} * count, part = part_of_block(t);
  for (int i = rank_in(t); i < kSums<more> * count; i += kLanes * t.groups * t.slices) {
    const int sum = i / count, channel = i % count;
    if (first + channel >= t.channels) continue;
    const float* values = &all.values[sum][channel / kSlice * t.groups * kLanes][0] + channel % kSlice;
    float total = 0.0f;
    for (int group = t.halo; group < t.groups - t.halo; ++group) total += values[group * kSlice];
    partials[(part * kSums<more> + sum) * t.channels + first + channel] = total;
  }
}

/// Where the sums of one kind go, those of channel 0; null where nobody wants them.
struct SumTarget {
  float* sums;
  bool accumulates;

  __device__ SumTarget(const DepthwiseGeluBackward& args, int sum)
      : sums(sum == kTaps ? args.dbias : args.dw), accumulates(args.accumulate_parameters) {
    if (sum < kTaps && sums) sums += int64_t{sum} * args.channels;
    if (sum == kParameters) sums = args.dx_sum, accumulates = args.accumulate_dx_sum;
  }
};

/// dw, dbias and dx_sum (+)= the sums of all parts, for the block's channels.
template <bool more, int width>
__device__ void add_parts(const DepthwiseGeluBackward& args, const Tiling& t, int block_channels,
                          const float* partials, int64_t parts) {
  const int packs = block_channels / width, first = static_cast<int>(chunk_of_block(t)) * block_channels;
  const int64_t part_stride = int64_t{kSums<more>} * t.channels;
  for (int i = rank_in(t); i < kSums<more> * packs; i += kLanes * t.groups * t.slices) {
    const int sum = i / packs, channel = first + i % packs * width;
    const SumTarget target(args, sum);
    if (channel >= t.channels || !target.sums) continue;
    const float* values = partials + int64_t{sum} * t.channels + channel;
    Floats<width> total{};
#pragma unroll 8
    for (int64_t part = 0; part < parts; ++part) {
      const auto sums = load<width>(values + part * part_stride);
#pragma unroll
      for (int j = 0; j < width; ++j) total[j] += sums[j];
    }
    float* results = target.sums + channel;
#pragma unroll
    for (int j = 0; j < width; ++j) results[j] = (target.accumulates ? results[j] : 0.0f) + total[j];
  }
}

/// With `more`, y and dx_sum, too, if they are wanted.
template <int pack, typename T, bool more>
__global__ void __launch_bounds__(kMostThreads, 2)
    backward(DepthwiseGeluBackward args, Tiling tiling, float* partials, unsigned* counters) {
  const Place<pack> place(tiling);
  auto& memory = *dynamic_shared<BackwardMemory<pack, T>>();
  static_assert(sizeof(AllSums<pack, more>) <= sizeof(memory.x) + sizeof(memory.dy));
  const int lane = static_cast<int>(threadIdx.x), group = place.group;
  int below = max(place.first - 2, -1);  // row of x that is added; that of g is above it
  const int last = min(place.end + 1, tiling.height);
  Stream<pack, T> x(static_cast<const T*>(args.x), tiling, place, below);
  Stream<pack, T> dy(static_cast<const T*>(args.dy), tiling, place, below - 1);
  const auto copy_rows = [&](int row, int stage) {
    x.copy_row(row, memory.x[stage]);
    dy.copy_row(row - 1, memory.dy[stage]);
  };
  for (int stage = 0; stage < kStages; ++stage) {
    copy_rows(below + stage, stage);
    commit_copies();
    if (threadIdx.y > 0) continue;
    memory.x[stage].clear_ends(group, tiling.groups);
    auto& sides = memory.edges[stage].sides;
    sides[1][group - 1][lane] = sides[0][group + tiling.groups][lane] = {};
  }
  Target<pack, T> dx(static_cast<T*>(args.dx), tiling, place, place.first);
  Target<pack, T> y(static_cast<T*>(args.y), tiling, place, place.first);
  float* const dx_sum = &memory.dx_sums[group][lane][0];
  if constexpr (more) store<pack>(dx_sum, {});
  const Taps<pack> taps(args.w, args.bias, tiling);
  wait_copies<kStages - 1>();
  __syncthreads();

  Sums<pack> sums(taps.bias);
  Gradients<pack> gradients;
  const auto recompute = [&](int stage, bool inside = true) {
    const Pixels<pack, T> pixels(memory.x[stage], group);
    sums.move_down(taps.bias);
    if (inside) sums.add_row(pixels, taps);
    gradients.take_row(pixels);
  };
  const auto end_stage = [&](int stage) {
    wait_copies<kStages - 2>();
    __syncthreads();
    if (below + kStages <= last) copy_rows(below + kStages, stage);
    commit_copies();
  };
  const auto store_dx = [&] {
    if (!args.dx) return;
    if constexpr (more) {
      auto sum = load<pack>(dx_sum);
      dx.add_up(gradients.dx[0], sum);
      store<pack>(dx_sum, sum);
    }
    if (args.accumulate_dx) dx.add_to(gradients.dx[0]);
    dx.store_row(gradients.dx[0]);
  };
#pragma unroll
  for (int stage = 0; stage < 2; ++stage, ++below) {
    recompute(stage, below >= 0);  // forward does not add a row of zeros there: it would make 0 of −0
    end_stage(stage);
  }
  auto* edge = &memory.edges[0].sides[0][group][lane];
  constexpr int kSide = kStagedGroups * kLanes;
  const auto step = [&](int stage) __attribute__((always_inline))->bool {
    const int row = below - 1;  // of g: the last whose sums are complete
    const bool own_row = row >= place.first && row < place.end;
    const bool stores_y = more & own_row & (args.y != nullptr);
    recompute(stage);
    const Pixels<pack, T> dy_pixels(memory.dy[stage], group);
    Floats<pack> g[kColumns];
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      g[i] = dy_pixels.own(i);
#pragma unroll
      for (int j = 0; j < pack; ++j) g[i][j] *= gelu_derivative<T>(sums.rows[0][i][j]);
      if constexpr (more) y.store_pixel(i, activated<T>(sums.rows[0][i]), stores_y);
    }
    auto* lefts = edge + 2 * stage * kSide;
    auto* rights = lefts + kSide;
    store<pack>(&lefts[0][0], g[0]);
    store<pack>(&rights[0][0], g[kColumns - 1]);
    end_stage(stage);
    const auto left = load<pack>(&rights[-kLanes][0]), right = load<pack>(&lefts[kLanes][0]);
    if (own_row) {  // first, while the sums of dx are but of two rows
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        gradients.add_to_w(i + 1, g[i]);
        gradients.add_to_bias(g[i]);
      }
      gradients.add_to_w(0, left);
      gradients.add_to_w(kColumns + 1, right);
    }
#pragma unroll
    for (int i = 0; i < kColumns; ++i) gradients.add_to_dx(i + 1, g[i], taps);
    gradients.add_to_dx(0, left, taps);
    gradients.add_to_dx(kColumns + 1, right, taps);
    if (row > place.first) store_dx();
    if (stores_y) y.move_down();
    gradients.move_dx_down();
    return below++ < last;
  };
  while (step(2) && step(0) && step(1)) continue;
  if (place.end == tiling.height) store_dx();  // no row of g lies below
  wait_copies();
  __syncthreads();
  if (!partials) return;
  store_partial<more>(gradients, load<pack>(dx_sum), tiling, partials);
  const unsigned parts = gridDim.x / static_cast<unsigned>(tiling.chunks);
  if (is_last_block(counters + chunk_of_block(tiling), parts))
    add_parts<more, pack == 2 ? 4 : 1>(args, tiling, tiling.slices * kLanes * pack, partials, parts);
}

}  // namespace

void run(const DepthwiseGeluBackward& args, Queue& queue) {
  check_results(args);
  if (run_by_strips(args, queue)) return;
  const auto run_as = [&]<typename T, bool more>(Storage<T>, std::bool_constant<more>) {
    with_pack<T>(args.channels, {args.x, args.dy, args.dx, args.y}, [&](auto pack) {
      const Tiling tiling(args.images, args.height, args.width, args.channels, pack);
      const int64_t sums = tiling.parts(args.images) * kSums<more> * args.channels;
      const Scratch partials = queue.scratch(args.dw || args.dx_sum ? sums : 0);
      launch(queue, tiling.shape(args.name, args.images, sizeof(BackwardMemory<pack, T>)),
             backward<pack, T, more>, args, tiling, partials.data(), queue.counters(tiling.chunks));
    });
  };
  with_storage(args.dtype, args.name, [&](auto storage) {
    if (args.y || args.dx_sum)
      run_as(storage, std::true_type());
    else
      run_as(storage, std::false_type());
  });
}

}  // namespace scrawl::SCRAWL_GPU
