// Two layer norms in a row, both ways in one reading of each map.  Forward, the row that was normalised is
// still in registers, rounded as it is stored, and is normalised once more.  Backward, z comes from x again
// by the forward pass's instructions, and its gradient never leaves the registers: first two sums a row for
// the second norm, then two for the first.
// Cost and limits: those of rows.cuh.
#include "kernels/cuda/norm/rows.cuh"
#include "kernels/layer_norm.h"

namespace scrawl::SCRAWL_GPU {

namespace {

/// The r-th row that this thread has under way, of all rows.
template <typename L>
__device__ __forceinline__ Row row_of_thread(int r, int64_t rows) {
  return Row(0, rows, (int64_t{blockIdx.x} * L::kRowsAtOnce + r) * blockDim.y + threadIdx.y, rows);
}

// --- forward ----------------------------------------------------------------------------------------------

template <typename T, typename L>
__global__ void __launch_bounds__(L::kThreads, kBlocksAtOnce<L>)
    normalise_twice(NormPairForward args, float share) {
  constexpr int rows = L::kRowsAtOnce;
  const int channels = args.channels;
  const auto &first = args.first, &second = args.second;
  RowShare<float, L> gamma[2], beta[2];
  RowShare<T, L> x[rows];
  Row row[rows];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    row[r] = row_of_thread<L>(r, args.rows);
    x[r].open(row[r].template in<T>(args.x, channels), channels);
  }
  gamma[0].open(first.gamma, channels);
  beta[0].open(first.beta, channels);
  normalise(x, row, gamma[0], beta[0], args.z, first.mean, first.rstd, channels, share, first.eps);
  gamma[1].open(second.gamma, channels);
  beta[1].open(second.beta, channels);
  normalise(x, row, gamma[1], beta[1], args.y, second.mean, second.rstd, channels, share, second.eps);
}

// --- backward ---------------------------------------------------------------------------------------------

template <int N>
__device__ __forceinline__ Floats<N> product(Floats<N> a, const Floats<N>& b) {
#pragma unroll
  for (int i = 0; i < N; ++i) a[i] *= b[i];
  return a;
}

/// Input gradients of a norm, for a thread's rows; g = dy · gamma.
template <int rows>
struct InputGradient {
  float mean[rows], rstd[rows];
  Floats<2 * rows> sums{};  // Σ g and Σ g · (x − mean) of each row

  template <int N>
  __device__ __forceinline__ void sum_up(int r, const Floats<N>& g, const Floats<N>& x) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      sums[2 * r] += g[i];
      sums[2 * r + 1] += g[i] * (x[i] - mean[r]);
    }
  }
  /// onto + dx.  `sums` are those of all lanes, and share is 1/channels.
  template <int N>
  __device__ __forceinline__ Floats<N> added(Floats<N> onto, int r, const Floats<N>& g, const Floats<N>& x,
                                             float share) const {
    const float mean_g = sums[2 * r] * share, slope = sums[2 * r + 1] * rstd[r] * rstd[r] * share;
#pragma unroll
    for (int i = 0; i < N; ++i) onto[i] += rstd[r] * (g[i] - mean_g - (x[i] - mean[r]) * slope);
    return onto;
  }
};

/// What body(r, pack, channel) makes of the packs of a thread's rows, as type T stores it: computed once
/// where lanes hold packs, elsewhere anew at each use.
template <typename T, typename L, typename Body>
class Computed {
 public:
  __device__ explicit Computed(Body body) : body_(body) {}
  /// At the first use.
  __device__ __forceinline__ Floats<L::width> compute(int r, int pack, int channel) {
    const auto stored = to_pack<T>(body_(r, pack, channel));
    if constexpr (L::held > 0) held_[r][pack] = stored;
    return to_floats(stored);
  }
  __device__ __forceinline__ Floats<L::width> values(int r, int pack, int channel) const {
    if constexpr (L::held > 0)
      return to_floats(held_[r][pack]);
    else
      return to_floats(to_pack<T>(body_(r, pack, channel)));
  }

 private:
  Body body_;
  Pack<T, L::width> held_[L::kRowsAtOnce][L::held > 0 ? L::held : 1];
};
template <typename T, typename L, typename Body>
__device__ __forceinline__ Computed<T, L, Body> computed(Body body) {
  return Computed<T, L, Body>(body);
}

/// dx and, with `again`, y.  Parameters that are not needed at once are loaded where they are used: to keep
/// them takes more registers than there are.
template <typename T, typename L, bool again>
__global__ void __launch_bounds__(L::kThreads, kBlocksAtOnce<L, /*keeps_more=*/true>)
    gradients(NormPairBackward args, float share) {
  constexpr int rows = L::kRowsAtOnce, width = L::width;
  const int channels = args.channels;
  RowShare<T, L> x[rows], dz[rows], dy[rows];
  InputGradient<rows> first, second;
  Row row[rows];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    row[r] = row_of_thread<L>(r, args.rows);
    const int64_t index = row[r].index, offset = index * channels;
    x[r].open(static_cast<const T*>(args.x) + offset, channels);
    dy[r].open(args.dy, args.dz, offset, channels);
    dz[r].open(args.dz, args.dy, offset, channels);
    first.mean[r] = args.first.mean[index];
    first.rstd[r] = args.first.rstd[index];
    second.mean[r] = args.second.mean[index];
    second.rstd[r] = args.second.rstd[index];
  }
  RowShare<float, L> gamma;  // the second norm's
  gamma.open(args.second.gamma, channels);

  auto z = computed<T, L>([&](int r, int pack, int channel) {
    return normed(x[r].values(pack, channel), first.mean[r], first.rstd[r],
                  load<width>(args.first.gamma + channel), load<width>(args.first.beta + channel));
  });
  for_each_pack<L>(channels, [&](int pack, int channel) {
    const auto slopes = gamma.values(pack, channel);
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const auto inputs = z.compute(r, pack, channel);
      second.sum_up(r, product(dy[r].values(pack, channel), slopes), inputs);
      if (again && row[r].exists)
        store<width>(
            row[r].template in<T>(args.y, channels) + channel,
            normed(inputs, second.mean[r], second.rstd[r], slopes, load<width>(args.second.beta + channel)));
    }
  });
  second.sums = row_sums(second.sums);

  auto g = computed<float, L>([&](int r, int pack, int channel) {
    const auto of_second = product(dy[r].values(pack, channel), gamma.values(pack, channel));
    const auto gradient =
        second.added(dz[r].values(pack, channel), r, of_second, z.values(r, pack, channel), share);
    return product(gradient, load<width>(args.first.gamma + channel));
  });
  for_each_pack<L>(channels, [&](int pack, int channel) {
#pragma unroll
    for (int r = 0; r < rows; ++r) first.sum_up(r, g.compute(r, pack, channel), x[r].values(pack, channel));
  });
  first.sums = row_sums(first.sums);
  for_each_pack<L>(channels, [&](int pack, int channel) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const auto dx =
          first.added(Floats<width>{}, r, g.values(r, pack, channel), x[r].values(pack, channel), share);
      if (row[r].exists) store<width>(row[r].template in<T>(args.dx, channels) + channel, dx);
    }
  });
}

// --- launches ---------------------------------------------------------------------------------------------

/// Launches kernel_of(storage, layout) over all rows.
template <typename Arguments, typename KernelOf>
void launch_over_rows(const Arguments& args, std::initializer_list<const void*> pointers, Queue& queue,
                      KernelOf kernel_of) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T> storage) {
    with_layout<T>(args.channels, pointers, [&]<typename L>(L layout, const ColumnBlock& block) {
      const int64_t blocks = ceil_div(args.rows, block.groups * L::kRowsAtOnce);
      launch(queue, over_rows(args.name, block, blocks), kernel_of(storage, layout), args,
             1.0f / args.channels);
    });
  });
}

}  // namespace

void run(const NormPairForward& args, Queue& queue) {
  const auto &first = args.first, &second = args.second;
  launch_over_rows(args, {args.x, first.gamma, first.beta, second.gamma, second.beta, args.z, args.y}, queue,
                   []<typename T, typename L>(Storage<T>, L) { return normalise_twice<T, L>; });
}

void run(const NormPairBackward& args, Queue& queue) {
  check_results(args);
  const auto &first = args.first, &second = args.second;
  launch_over_rows(
      args, {args.x, first.gamma, first.beta, second.gamma, second.beta, args.dz, args.dy, args.y, args.dx},
      queue, [&]<typename T, typename L>(Storage<T>, L) {
        return args.y ? gradients<T, L, true> : gradients<T, L, false>;
      });
}

}  // namespace scrawl::SCRAWL_GPU
