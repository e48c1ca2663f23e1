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

constexpr int kRowsOfX = 8, kRowsOfDy = 4, kRowsOfG = 4, kRowsOfResults = 2;
constexpr int kRows = kRowsOfX + kRowsOfDy + kRowsOfG + 2 * kRowsOfResults;
/// A thread's g in the outermost rows of its segment, if these are the map's.
using Edge = Pack<float, 4>;

constexpr Plan kPlan{
    .shared_rows = kRows, .thread_bytes = 2 * sizeof(Edge), .resident_warps = 20, .extra_rows = 3};
constexpr int kBoundedThreads = 640;  // two blocks of a full row, of 96 registers a thread
constexpr int kSums = kTaps + 2;      // of a channel: of the weights' gradients, of the bias's and of dx

/// The rows in shared memory.  Of y and dx they are as far behind those of x and dy.
struct Rings {
  Ring<kRowsOfX> x;
  Ring<kRowsOfResults> y;
  Ring<kRowsOfDy> dy;
  Ring<kRowsOfG> g;
  Ring<kRowsOfResults> dx;
  static_assert(kRowsOfX == kRowsOfDy + kRowsOfG);

  __device__ explicit Rings(int bytes)
      : x{0, bytes},
        y{kRowsOfX * bytes, bytes},
        dy{(kRowsOfX + kRowsOfResults) * bytes, bytes},
        g{(kRowsOfX + kRowsOfResults + kRowsOfDy) * bytes, bytes},
        dx{(2 * kRowsOfX + kRowsOfResults) * bytes, bytes} {}
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

/// The weights of a kernel row through which a column's g reaches the map.
__device__ float reach(const DepthwiseGeluBackward& args, int ky, int column, int channel) {
  float sum = 0.0f;
  for (int kx = 0; kx < 3; ++kx)
    if (static_cast<unsigned>(column + kx - 1) < static_cast<unsigned>(args.width))
      sum += args.w[int64_t{3 * ky + kx} * args.channels + channel];
  return sum;
}

/// Calls body(i, position, channel) for a lane's four values whose channels there are.
template <typename Body>
__device__ __forceinline__ void for_values(const Strip& strip, int channels, Body body) {
  if (strip.channel >= channels) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) body(i, strip.first + FragmentD::row(i), strip.channel + FragmentD::column(i));
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
  float bias[2] = {}, dx[2] = {};
  for_values(strip, cut.channels, [&](int i, int position, int channel) {
    const Origin origin = origin_of(cut, position);
    bias[i % 2] += g[i];
    for (int ky = 0; ky < 3; ++ky) dx[i % 2] += g[i] * reach(args, ky, origin.column, channel);
    if (origin.row == 0) dx[i % 2] -= edges[threadIdx.x][i] * reach(args, 0, origin.column, channel);
    if (origin.row / cut.rows == cut.bands - 1)
      dx[i % 2] -= edges[blockDim.x + threadIdx.x][i] * reach(args, 2, origin.column, channel);
  });
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    for (int offset = 4; offset < kWarpSize; offset *= 2) {
      bias[i] += __shfl_xor_sync(kFullWarp, bias[i], offset);
      dx[i] += __shfl_xor_sync(kFullWarp, dx[i], offset);
    }
    if (lane_index() >= 4) continue;
    leave(kTaps, 2 * lane_index() + i, bias[i]);
    leave(kTaps + 1, 2 * lane_index() + i, dx[i]);
  }
  __syncthreads();
  const int first = chunk_of_block(cut) * channels;
  for (int i = static_cast<int>(threadIdx.x); i < kSums * channels; i += cut.threads()) {
    const int sum = i / channels, channel = i % channels;
    if (first + channel >= cut.channels) continue;
    float total = 0.0f;
    for (int each = 0; each < cut.strips; ++each) total += sums[each * kSums * channels + i];
    partials[(int64_t{part_of_block(cut)} * kSums + sum) * cut.channels + first + channel] = total;
  }
}

/// dw, dbias and dx_sum (+)= the sums of all parts, for the block's channels.
__device__ void add_parts(const DepthwiseGeluBackward& args, const Cut& cut, const float* partials,
                          int parts) {
  const int channels = cut.groups * kGroup, first = chunk_of_block(cut) * channels;
  for (int i = static_cast<int>(threadIdx.x); i < kSums * channels; i += cut.threads()) {
    const int sum = i / channels, channel = first + i % channels;
    float* results = sum < kTaps ? args.dw : sum == kTaps ? args.dbias : args.dx_sum;
    if (channel >= cut.channels || !results) continue;
    const bool accumulates = sum > kTaps ? args.accumulate_dx_sum : args.accumulate_parameters;
    const float* values = partials + int64_t{sum} * cut.channels + channel;
    float total = 0.0f;
#pragma unroll 8
    for (int part = 0; part < parts; ++part) total += values[int64_t{part} * kSums * cut.channels];
    float& result = results[(sum < kTaps ? int64_t{sum} * cut.channels : 0) + channel];
    result = (accumulates ? result : 0.0f) + total;
  }
}

/// What there is of dx, added to a lane's values of a row of the block's segments.
__device__ void add_stored_dx(float (&values)[4], const Strip& strip, int row,
                              const DepthwiseGeluBackward& args, const Cut& cut) {
  for_values(strip, cut.channels, [&](int i, int position, int channel) {
    const Origin origin = origin_of(cut, position);
    if (static_cast<unsigned>(origin.row + row) >= static_cast<unsigned>(cut.height)) return;
    const int64_t pixel = origin.pixel + int64_t{row} * cut.width;
    values[i] += as_float(static_cast<const bf16*>(args.dx)[pixel * cut.channels + channel]);
  });
}

template <bool accumulates_dx>
__global__ void __launch_bounds__(kBoundedThreads)
    backward(DepthwiseGeluBackward args, Cut cut, float* partials, unsigned* counters) {
  clear_rows(kRows, cut);
  const Rings rings(cut.row_size() * static_cast<int>(sizeof(Pixel)));
  auto* const edges = reinterpret_cast<Edge*>(dynamic_shared<Pixel>() + kRows * cut.row_size());
  const int thread = static_cast<int>(threadIdx.x), pieces = cut.threads() / 2;
  // One half of the threads copies x and stores y, the other copies dy and stores dx.
  const int half = thread < pieces ? 0 : 1;
  const void* const source = half == 0 ? args.x : args.dy;
  auto* const target = static_cast<Pixel*>(half == 0 ? args.y : args.dx);
  const Piece piece(cut, thread - half * pieces);
  Pixel* const copied = in_row(piece.place, half == 0 ? rings.x.first : rings.dy.first);
  const int last_slot = (half == 0 ? kRowsOfX : kRowsOfDy) - 1;
  const int stored_rows = target ? piece.rows_inside(cut) : 0;
  const Strip strip(cut);
  const Taps taps(args.w, strip.channel, cut.channels);
  const FragmentD start = start_of(args.bias, strip.channel, cut.channels);
  const int last_row = (cut.height - 1) % cut.rows;  // of an image, in its segment
  WeightSums weights;
  Floats<4> g_sums{};
  __syncthreads();

  /// Row of x; that of dy is above it.
  const auto copy_rows = [&](int row) {
    if (row <= cut.rows + 1)
      piece.copy(source, row - half, in_row(copied, (row & last_slot) * rings.x.bytes), cut);
    commit_copies();
  };
  /// Row of y; that of dx is two above it.
  const auto store_rows = [&](int row) {
    const int own = row - 2 * half;
    if (static_cast<unsigned>(own) < static_cast<unsigned>(stored_rows))
      target[piece.index_of(own, cut)] = *in_row(copied, rings.y.row(row));
  };
  /// Adds a row of g to dx, by which the row above it is complete.
  const auto add_to_dx = [&](int row, FragmentD& above, FragmentD& at, FragmentD& below)
      __attribute__((always_inline)) {
    below = {};
    add_row(Shifted::mirrored(in_row(strip.pair, rings.g.row(row))), taps, above, at, below);
    float values[4] = {above.values[0], above.values[1], above.values[2], above.values[3]};
    if constexpr (accumulates_dx)
      if (row > 0 && row <= cut.rows) add_stored_dx(values, strip, row - 1, args, cut);
    strip.store(rings.dx.row(row - 1), values);
  };
  /// Adds to dw what a row of x does.
  const auto add_to_dw = [&](int row) __attribute__((always_inline)) {
    const int lower = lane_index() / 8 % 2;
    const auto g = [&](int index, int right) {
      const Pixel* zeros = in_row(dynamic_shared<const Pixel>(), rings.g.first);
      return static_cast<unsigned>(index) < static_cast<unsigned>(cut.rows)
                 ? in_row(strip.columns, rings.g.row(index)) + right
                 : zeros;
    };
    weights.add(in_row(strip.pair, rings.x.row(row)), g(row - 1 + lower, 0), g(row + 1, lower));
  };
  /// Makes a row of g, and of y, of the sums ahead of GELU.
  const auto differentiate = [&](int row, const FragmentD& sums) __attribute__((always_inline)) {
    uint32_t dy[2];
    load_matrices<2>(dy, in_row(strip.pair, rings.dy.row(row + 1)) + 1);
    float g[4], y[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float factor = i % 2 == 0 ? low_bf16(dy[i / 2]) : high_bf16(dy[i / 2]);
      g[i] = factor * gelu_derivative<bf16>(sums.values[i]);
      y[i] = gelu<bf16>(sums.values[i]);
    }
    strip.store(rings.g.row(row), g);
    strip.store(rings.y.row(row), y);
    if (static_cast<unsigned>(row) >= static_cast<unsigned>(cut.rows)) return;
#pragma unroll
    for (int i = 0; i < 4; ++i) g_sums[i] += g[i];
    if (row == 0) edges[thread] = {g[0], g[1], g[2], g[3]};
    if (row == last_row) edges[cut.threads() + thread] = {g[0], g[1], g[2], g[3]};
  };

  struct Row {
    FragmentD sums, dx;
  };
  const auto begin = [&](int row) {
    wait_copies<kAhead - 1>();
    __syncthreads();
    copy_rows(row + kAhead);
  };
  const auto add_x = [&](int row, Row& above, Row& at, Row& below) __attribute__((always_inline)) {
    convolve(in_row(strip.pair, rings.x.row(row)), taps, start, above.sums, at.sums, below.sums);
  };
#pragma unroll
  for (int first = -2; first < kAhead - 2; ++first) copy_rows(first);
  Row a{}, b{}, c{};
  begin(-2);
  add_x(-2, b, c, a);
  begin(-1);
  add_x(-1, c, a, b);
  int row = 0;  // of x that is added
  const auto step = [&](Row & above, Row & at, Row & below) __attribute__((always_inline))->bool {
    begin(row);
    store_rows(row - 2);
    add_to_dx(row - 2, above.dx, at.dx, below.dx);
    add_to_dw(row - 3);
    if (row <= cut.rows + 1) {
      add_x(row, above, at, below);
      differentiate(row - 1, above.sums);
    }
    return row++ < cut.rows + 3;
  };
  while (step(a, b, c) && step(b, c, a) && step(c, a, b)) continue;
  wait_copies();
  __syncthreads();
  if (!partials) return;
  store_partial(weights, g_sums, edges, strip, args, cut, partials);
  const int parts = static_cast<int>(cut.parts());
  if (is_last_block(counters + chunk_of_block(cut), parts)) add_parts(args, cut, partials, parts);
}

}  // namespace

bool run_by_strips(const DepthwiseGeluBackward& args, Queue& queue) {
  if (!takes(args, {args.x, args.dy, args.dx, args.y})) return false;
  const Cut cut(args.images, args.height, args.width, args.channels, kPlan);
  const bool sums = args.dw || args.dbias || args.dx_sum;
  const Scratch partials = queue.scratch(sums ? cut.parts() * kSums * args.channels : 0);
  launch(queue, cut.shape(args.name, kPlan), args.accumulate_dx ? backward<true> : backward<false>, args, cut,
         partials.data(), queue.counters(cut.chunks));
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
