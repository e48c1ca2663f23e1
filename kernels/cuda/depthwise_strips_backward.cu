// Depthwise 3×3 + bias + GELU in bf16 on tensor cores, backward, in one pass; see depthwise_strips.cuh.  The
// value ahead of GELU is recomputed on the way down, by what the forward pass does, and g = dy · gelu' of a
// row, rounded to bf16, serves all gradients from shared memory:
//   dx[r, c] = Σ w[ky, kx] g[r − ky + 1, c − kx + 1],   dw[ky, kx] = Σ x[r, c] g[r − ky + 1, c − kx + 1].
// The former is the convolution mirrored.  The latter is a product of two rows of g, [2 · 8 channels, 16
// positions], and a shifted row of x, [16 positions, 8 channels], of whose results those on diagonals count.
// A row of x is added once the rows of g on either side of it are there.
// dbias and dx_sum are sums of g in fp32, ahead of rounding: Σ dx is Σ g times the weights through which it
// reaches the map, all of them but in the outermost rows and columns.
// A block leaves one partial sum of each; the last block of some channels adds theirs in order.
// Cost: one read and write of every map; each segment reads up to four rows more.
#include "kernels/cuda/depthwise_strips.cuh"
#include "kernels/cuda/depthwise_strips.h"
#include "kernels/cuda/device/last_block.cuh"
#include "kernels/cuda/gelu.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

using namespace strips;

constexpr int kRowsOfX = 6, kRowsOfDy = 3, kRowsOfG = 6, kRowsOfResults = 2;
constexpr int kRows = kRowsOfX + kRowsOfDy + kRowsOfG + 2 * kRowsOfResults;
constexpr int kBoundedThreads = 640;  // two blocks of a full row, of 96 registers a thread
constexpr int kSums = kTaps + 2;      // of a channel: of the weights' gradients, of the bias's and of dx

/// A thread's g in the first row of its segment, and in the last of an image.
using Edge = Pack<float, 4>;

constexpr Plan kPlan{
    .shared_rows = kRows, .thread_bytes = 2 * sizeof(Edge), .resident_warps = 20, .extra_rows = 6};

/// The rows in shared memory.  Those of y lie as far ahead of x as those of dx ahead of dy.
template <int row_size>
struct Rings {
  using Y = Ring<row_size, kRowsOfResults, 0>;
  using X = Ring<row_size, kRowsOfX, kRowsOfResults>;
  using Dx = Ring<row_size, kRowsOfResults, kRowsOfResults + kRowsOfX>;
  using Dy = Ring<row_size, kRowsOfDy, 2 * kRowsOfResults + kRowsOfX>;
  using G = Ring<row_size, kRowsOfG, kRows - kRowsOfG>;
};

/// Sums for dw, of two taps each, one below the other.
struct WeightSums {
  FragmentD lower[3];  // kernel rows 2 and 1 of each column
  FragmentD upper[2];  // kernel row 0: columns 1 and 0; 2 and nothing of use

  /// `above_and_at` are rows of g above and at that of x, `below` the one below, and again from a column
  /// further right.
  __device__ __forceinline__ void add(const Pixel* x_pair, const Pixel* above_and_at, const Pixel* below) {
    uint32_t x[6];
    load_matrices<4, true>(x, x_pair);
    load_matrices<2, true>(x + 4, x_pair + 2);
    FragmentA g;
    load_matrices<4, true>(g.words, above_and_at);
#pragma unroll
    for (int kx = 0; kx < 3; ++kx) mma(lower[kx], g, {{x[2 * kx], x[2 * kx + 1]}});
    load_matrices<4, true>(g.words, below);
#pragma unroll
    for (int kx = 1; kx < 3; ++kx) mma(upper[kx - 1], g, {{x[2 * kx], x[2 * kx + 1]}});
  }
  /// Calls body(tap, value) in the lanes that hold a channel's sums, which is number lane / 4.
  template <typename Body>
  __device__ void for_diagonal(Body body) const {
    const int channel = lane_index() / 4;
    if (lane_index() % 4 != channel / 2) return;
    const auto value = [&](const FragmentD& d, int half) {
      return channel % 2 == 0 ? d.values[2 * half] : d.values[2 * half + 1];
    };
    body(0, value(upper[0], 1));
    body(1, value(upper[0], 0));
    body(2, value(upper[1], 0));
#pragma unroll
    for (int kx = 0; kx < 3; ++kx) {
      body(3 + kx, value(lower[kx], 1));
      body(6 + kx, value(lower[kx], 0));
    }
  }
};

/// Calls body(i, position, channel) for a lane's four values whose channels there are.
template <typename Body>
__device__ __forceinline__ void for_values(const Strip& strip, int channels, Body body) {
  if (strip.channel >= channels) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) body(i, strip.first + FragmentD::row(i), strip.channel + FragmentD::column(i));
}

/// The part of Σ g · w that does not reach the map, for each of a lane's channels.
__device__ __forceinline__ Floats<2> lost(const Floats<4>& g, const Edge* edges, const Strip& strip,
                                          const DepthwiseGeluBackward& args, const Cut& cut) {
  Floats<2> sums{};
  for_values(strip, cut.channels, [&](int i, int position, int channel) {
    const Origin origin(cut, position);
    const auto w = [&](int ky, int kx) { return args.w[int64_t{3 * ky + kx} * args.channels + channel]; };
    const bool left = origin.column == 0, right = origin.column == args.width - 1;
    const auto row = [&](int ky, float value) {
      sums[i % 2] += value * (w(ky, 1) + (left ? 0.0f : w(ky, 0)) + (right ? 0.0f : w(ky, 2)));
    };
    if (left) sums[i % 2] += g[i] * (w(0, 0) + w(1, 0) + w(2, 0));
    if (right) sums[i % 2] += g[i] * (w(0, 2) + w(1, 2) + w(2, 2));
    if (origin.row == 0) row(0, edges[threadIdx.x][i]);
    if (origin.row == (cut.bands - 1) * cut.rows) row(2, edges[blockDim.x + threadIdx.x][i]);
  });
  return sums;
}

/// Adds the sums of the block's strips, in order.  `g` are sums over rows.
__device__ void store_partial(const WeightSums& weights, const Floats<4>& g, const Edge* edges,
                              const Strip& strip, const DepthwiseGeluBackward& args, const Cut& cut,
                              float* partials) {
  const int channels = cut.groups * kGroup, own = strip.group * kGroup, number = strip.first / kStrip;
  auto* sums = dynamic_shared<float>();  // [strips, kSums, channels]
  const auto leave = [&](int sum, int channel, float value) {
    sums[(number * kSums + sum) * channels + own + channel] = value;
  };
  weights.for_diagonal([&](int tap, float value) { leave(tap, lane_index() / 4, value); });
  Floats<2> bias{{g[0] + g[2], g[1] + g[3]}}, beyond{};
  if (args.dx_sum) beyond = lost(g, edges, strip, args, cut);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    for (int offset = 4; offset < kWarpSize; offset *= 2) {
      bias[i] += __shfl_xor_sync(kFullWarp, bias[i], offset);
      beyond[i] += __shfl_xor_sync(kFullWarp, beyond[i], offset);
    }
    const int channel = 2 * lane_index() + i;
    if (lane_index() >= 4 || strip.channel >= cut.channels) continue;
    float weight = 0.0f;
    for (int tap = 0; tap < kTaps; ++tap)
      weight += args.w[int64_t{tap} * cut.channels + strip.channel + channel];
    leave(kTaps, channel, bias[i]);
    leave(kTaps + 1, channel, bias[i] * weight - beyond[i]);
  }
  __syncthreads();
  const Block block(cut);
  const int first = block.chunk * channels;
  for (int i = static_cast<int>(threadIdx.x); i < kSums * channels; i += cut.threads()) {
    const int sum = i / channels, channel = i % channels;
    if (first + channel >= cut.channels) continue;
    float total = 0.0f;
    for (int each = 0; each < cut.strips; ++each) total += sums[each * kSums * channels + i];
    partials[(int64_t{block.part} * kSums + sum) * cut.channels + first + channel] = total;
  }
}

/// dw, dbias and dx_sum (+)= the sums of all parts, for the block's channels.
__device__ void add_parts(const DepthwiseGeluBackward& args, const Cut& cut, const float* partials) {
  const int channels = cut.groups * kGroup, first = Block(cut).chunk * channels;
  for (int i = static_cast<int>(threadIdx.x); i < kSums * channels; i += cut.threads()) {
    const int sum = i / channels, channel = first + i % channels;
    float* results = sum < kTaps ? args.dw : sum == kTaps ? args.dbias : args.dx_sum;
    if (channel >= cut.channels || !results) continue;
    const bool accumulates = sum > kTaps ? args.accumulate_dx_sum : args.accumulate_parameters;
    const float* values = partials + int64_t{sum} * cut.channels + channel;
    float total = 0.0f;
#pragma unroll 8
    for (int part = 0; part < cut.parts; ++part) total += values[int64_t{part} * kSums * cut.channels];
    float& result = results[(sum < kTaps ? int64_t{sum} * cut.channels : 0) + channel];
    result = (accumulates ? result : 0.0f) + total;
  }
}

/// What there is of dx, added to a lane's values of a row of the block's segments.
__device__ void add_stored_dx(float (&values)[4], const Strip& strip, int row,
                              const DepthwiseGeluBackward& args, const Cut& cut) {
  for_values(strip, cut.channels, [&](int i, int position, int channel) {
    const Origin origin(cut, position);
    if (static_cast<unsigned>(origin.row + row) >= static_cast<unsigned>(cut.height)) return;
    const int64_t pixel = origin.pixel + int64_t{row} * cut.width;
    values[i] += as_float(static_cast<const bf16*>(args.dx)[pixel * cut.channels + channel]);
  });
}

template <bool accumulates_dx, int row_size>
__global__ void __launch_bounds__(kBoundedThreads)
    backward(DepthwiseGeluBackward args, Cut cut, float* partials, unsigned* counters) {
  using X = typename Rings<row_size>::X;
  using Y = typename Rings<row_size>::Y;
  using Dy = typename Rings<row_size>::Dy;
  using Dx = typename Rings<row_size>::Dx;
  using G = typename Rings<row_size>::G;
  clear_pixels(kRows * row_size, cut);
  auto* const edges = reinterpret_cast<Edge*>(dynamic_shared<Pixel>() + kRows * row_size);
  const int thread = static_cast<int>(threadIdx.x), pieces = cut.threads() / 2;
  // One half of the threads copies x and stores y, the other copies dy and stores dx.
  const int half = thread < pieces ? 0 : 1;
  const void* const source = half == 0 ? args.x : args.dy;
  auto* const target = static_cast<Pixel*>(half == 0 ? args.y : args.dx);
  const Piece piece(cut, thread - half * pieces);
  Pixel* const place = in_row(piece.place, half * (Dy::begin - X::begin));
  Pixel* const late_place =
      in_row(place, half * (X::row(0) - X::row(kRowsOfDy)));  // as there are fewer of dy
  const int stored_rows = target ? piece.rows_inside(cut) : 0;
  const Strip strip(cut);
  const int lower = lane_index() / 8 % 2;
  const Taps taps(args.w, strip.channel, cut.channels);
  const FragmentD start = start_of(args.bias, strip.channel, cut.channels);
  const int last_row = cut.height - 1 - (cut.bands - 1) * cut.rows;  // of an image, in its segment
  const auto is_own = [&](int row) { return static_cast<unsigned>(row) < static_cast<unsigned>(cut.rows); };
  Sums sums, dx_sums;
  WeightSums weights;
  Floats<4> g_sums{};
  __syncthreads();

  /// A row of x, and the row of dy above it.
  const auto copy_rows = [&](int row, int phase) __attribute__((always_inline)) {
    Pixel* const to = (phase + kCycle) % kCycle < kRowsOfDy ? place : late_place;
    if (row <= cut.rows + 1) piece.copy(source, row - half, in_row(to, X::row(phase)), cut);
    commit_copies();
  };
  /// A row of y, and that of dx two above it.
  const auto store_rows = [&](int row, int phase) __attribute__((always_inline)) {
    const int own = row - 2 * half;
    if (static_cast<unsigned>(own) < static_cast<unsigned>(stored_rows))
      target[piece.index_of(own, cut)] = *in_row(place, Y::row(phase));
  };
  const auto add_x = [&](int phase) __attribute__((always_inline)) {
    convolve(in_row(strip.pair, X::row(phase)), phase, taps, start, sums);
  };
  /// Adds a row of g to dx, by which the row above it is complete.
  const auto add_to_dx = [&](int row, int phase) __attribute__((always_inline)) {
    dx_sums.row(phase) = {};
    add_row(Shifted::mirrored(in_row(strip.pair, G::row(phase - 1))), taps, dx_sums.row(phase - 2),
            dx_sums.row(phase - 1), dx_sums.row(phase));
    const FragmentD& complete = dx_sums.row(phase - 2);
    float values[4] = {complete.values[0], complete.values[1], complete.values[2], complete.values[3]};
    if constexpr (accumulates_dx)
      if (is_own(row - 1)) add_stored_dx(values, strip, row - 1, args, cut);
    strip.store(Dx::row(phase), values);
  };
  /// Adds to dw what a row of x does.
  const auto add_to_dw = [&](int row, int phase) __attribute__((always_inline)) {
    const Pixel* const zeros = in_row(dynamic_shared<const Pixel>(), G::begin);
    const Pixel* above_and_at = in_row(strip.columns, lower ? G::row(phase - 2) : G::row(phase - 3));
    const Pixel* below = in_row(strip.columns, G::row(phase - 1)) + lower;
    weights.add(in_row(strip.pair, X::row(phase - 3)), is_own(row - 1 + lower) ? above_and_at : zeros,
                is_own(row + 1) ? below : zeros);
  };
  /// Makes a row of g, and of y, of the sums ahead of GELU.
  const auto differentiate = [&](int row, int phase) __attribute__((always_inline)) {
    uint32_t dy[2];
    load_matrices<2>(dy, in_row(strip.pair, Dy::row(phase)) + 1);
    float g[4], y[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float sum = sums.row(phase - 1).values[i];
      const float factor = i % 2 == 0 ? low_bf16(dy[i / 2]) : high_bf16(dy[i / 2]);
      g[i] = factor * gelu_derivative<bf16>(sum);
      y[i] = gelu<bf16>(sum);
    }
    strip.store(G::row(phase), g);
    strip.store(Y::row(phase), y);
    if (!is_own(row)) return;
#pragma unroll
    for (int i = 0; i < 4; ++i) g_sums[i] += g[i];
    if (row == 0) edges[thread] = {g[0], g[1], g[2], g[3]};
    if (row == last_row) edges[cut.threads() + thread] = {g[0], g[1], g[2], g[3]};
  };

  const auto begin = [&](int row, int phase) __attribute__((always_inline)) {
    wait_copies<kAhead - 1>();
    __syncthreads();
    copy_rows(row + kAhead, phase + kAhead);
  };
#pragma unroll
  for (int i = -2; i < kAhead - 2; ++i) copy_rows(i, i);
  begin(-2, -2);
  add_x(-2);
  begin(-1, -1);
  add_x(-1);
  int row = 0;  // of x that is added
  walk([&](auto phase) __attribute__((always_inline)) {
    begin(row, phase);
    store_rows(row - 2, phase - 1);
    add_to_dx(row - 2, phase);
    add_to_dw(row - 3, phase);
    if (row <= cut.rows + 1) {
      add_x(phase);
      differentiate(row - 1, phase);
    }
    return ++row <= cut.rows + 3;
  });
  wait_copies();
  __syncthreads();
  if (!partials) return;
  store_partial(weights, g_sums, edges, strip, args, cut, partials);
  if (is_last_block(counters + Block(cut).chunk, cut.parts)) add_parts(args, cut, partials);
}

}  // namespace

bool run_by_strips(const DepthwiseGeluBackward& args, Queue& queue) {
  if (!takes(args, {args.x, args.dy, args.dx, args.y})) return false;
  const Cut cut(args.images, args.height, args.width, args.channels, kPlan);
  const bool sums = args.dw || args.dbias || args.dx_sum;
  const Scratch partials = queue.scratch(sums ? int64_t{cut.parts} * kSums * args.channels : 0);
  with_row_size(cut, [&](auto row_size) {
    const auto kernel = args.accumulate_dx ? backward<true, row_size> : backward<false, row_size>;
    launch(queue, cut.shape(args.name, kPlan), kernel, args, cut, partials.data(),
           queue.counters(cut.chunks));
  });
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
