// Depthwise 3×3 + bias + GELU in bf16 on tensor cores, backward, in one pass; see strips.cuh.  The
// value ahead of GELU is recomputed on the way down, by what the forward pass does, and g = dy · gelu' of a
// row, rounded to bf16, serves all gradients from shared memory:
//   dx[r, c] = Σ w[ky, kx] g[r − ky + 1, c − kx + 1],   dw[ky, kx] = Σ x[r, c] g[r − ky + 1, c − kx + 1].
// The former is the convolution mirrored.  The latter is a product of two rows of g, [2 · 8 channels, 16
// positions], and a shifted row of x, [16 positions, 8 channels], of whose results those on diagonals count.
// A row of x is added once the rows of g on either side of it are there.
// dbias and dx_sum are sums of g in fp32, ahead of rounding: Σ dx is Σ g times the weights through which it
// reaches the map, all of them but in the outermost rows and columns.
// A block leaves one partial sum of each; the last block of some channels adds theirs in order.
// Cost: one read and write of every map; each segment reads up to four rows more.  176 instructions and 23
// products for a strip's 128 values (counted for compute capability 9.0), and for each segment some 1500,
// those for rows beside it included.
#include "kernels/cuda/depthwise/gelu.cuh"
#include "kernels/cuda/depthwise/strips.cuh"
#include "kernels/cuda/depthwise/strips.h"
#include "kernels/cuda/device/last_block.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

using namespace strips;

constexpr int kRowsOfX = 6, kRowsOfDy = 3, kRowsOfG = 6, kRowsOfResults = 2;
constexpr int kAhead = 2;  // rows of x and dy on their way
constexpr int kRows = kRowsOfX + kRowsOfDy + kRowsOfG + 2 * kRowsOfResults;
constexpr int kBoundedThreads = 640;  // two blocks of a full row, of 96 registers a thread
constexpr int kSums = kTaps + 2;      // of a channel: of the weights' gradients, of the bias's and of dx

using Edge = Pack<float, 4>;  // a lane's g in a row

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

  /// Adds what a row of x does, from three phases ago.  The rows of g above and at it are one factor, that
  /// below, and once more from a column further right, the other; zeros stand for rows that are not own.
  template <int row_size>
  __device__ __forceinline__ void add(int row, int phase, const Strip& strip, const Cut& cut) {
    using G = typename Rings<row_size>::G;
    const Pixel* const zeros = in_row(dynamic_shared<const Pixel>(), G::begin);
    const int second = lane_index() / 8 % 2;  // of the matrices one below the other
    const Pixel* above_and_at = in_row(strip.columns, second ? G::row(phase - 2) : G::row(phase - 3));
    const Pixel* below = in_row(strip.columns, G::row(phase - 1)) + second;
    if (!cut.is_own(row - 1 + second)) above_and_at = zeros;
    if (!cut.is_own(row + 1)) below = zeros;
    const Pixel* const left = in_row(strip.pair, Rings<row_size>::X::row(phase - 3));
    uint32_t x[6];
    load_matrices<4, true>(x, left);
    load_matrices<2, true>(x + 4, left + 2);
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

/// Sums of g over rows, of a lane's four values, ahead of rounding.
struct GradientSums {
  Floats<4> all{};
  Edge* edges;   // g of a row, by thread: of the first row of a segment, and of the last of an image
  int last_row;  // in the segment that has it

  __device__ explicit GradientSums(Edge* memory, const Cut& cut)
      : edges(memory), last_row(cut.height - 1 - (cut.bands - 1) * cut.rows) {}
  __device__ __forceinline__ const Edge& top() const { return edges[threadIdx.x]; }
  __device__ __forceinline__ const Edge& bottom() const { return edges[blockDim.x + threadIdx.x]; }

  __device__ __forceinline__ void add(int row, const float (&g)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) all[i] += g[i];
    if (row == 0) edges[threadIdx.x] = {g[0], g[1], g[2], g[3]};
    if (row == last_row) edges[blockDim.x + threadIdx.x] = {g[0], g[1], g[2], g[3]};
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
__device__ __forceinline__ Floats<2> lost(const GradientSums& g, const Strip& strip,
                                          const DepthwiseGeluBackward& args, const Cut& cut) {
  Floats<2> sums{};
  for_values(strip, cut.channels, [&](int i, int position, int channel) {
    const Origin origin(cut, position);
    const auto w = [&](int ky, int kx) { return args.w[int64_t{3 * ky + kx} * args.channels + channel]; };
    const bool left = origin.column == 0, right = origin.column == args.width - 1;
    const auto row = [&](int ky, float value) {
      sums[i % 2] += value * (w(ky, 1) + (left ? 0.0f : w(ky, 0)) + (right ? 0.0f : w(ky, 2)));
    };
    if (left) sums[i % 2] += g.all[i] * (w(0, 0) + w(1, 0) + w(2, 0));
    if (right) sums[i % 2] += g.all[i] * (w(0, 2) + w(1, 2) + w(2, 2));
    if (origin.row == 0) row(0, g.top()[i]);
    if (origin.row == (cut.bands - 1) * cut.rows) row(2, g.bottom()[i]);
  });
  return sums;
}

/// Adds the sums of the block's strips, in order.
__device__ void store_partial(const WeightSums& weights, const GradientSums& g, const Strip& strip,
                              const DepthwiseGeluBackward& args, const Cut& cut, float* partials) {
  const int channels = cut.groups * kGroup, own = strip.group * kGroup, number = strip.first / kStrip;
  auto* sums = dynamic_shared<float>();  // [strips, kSums, channels]
  const auto leave = [&](int sum, int channel, float value) {
    sums[(number * kSums + sum) * channels + own + channel] = value;
  };
  weights.for_diagonal([&](int tap, float value) { leave(tap, lane_index() / 4, value); });
  Floats<2> bias{{g.all[0] + g.all[2], g.all[1] + g.all[3]}}, beyond{};
  if (args.dx_sum) beyond = lost(g, strip, args, cut);
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

/// What a thread moves: one half of the block's copies x and stores y, the other copies dy and stores dx.
template <int row_size>
class Mover {
  using X = typename Rings<row_size>::X;
  using Y = typename Rings<row_size>::Y;
  using Dy = typename Rings<row_size>::Dy;

 public:
  __device__ Mover(const DepthwiseGeluBackward& args, const Cut& cut)
      : half_(static_cast<int>(threadIdx.x) < cut.threads() / 2 ? 0 : 1),
        piece_(cut, static_cast<int>(threadIdx.x) - half_ * (cut.threads() / 2)),
        source_(half_ == 0 ? args.x : args.dy),
        target_(static_cast<Pixel*>(half_ == 0 ? args.y : args.dx)),
        place_(in_row(piece_.place, half_ * (Dy::begin - X::begin))),
        late_place_(in_row(place_, half_ * (X::row(0) - X::row(kRowsOfDy)))),
        stored_rows_(target_ ? piece_.rows_inside(cut) : 0) {}
  /// A row of x, and the row of dy above it.
  __device__ __forceinline__ void copy(int row, int phase, const Cut& cut) const {
    Pixel* const to = (phase + kCycle) % kCycle < kRowsOfDy ? place_ : late_place_;
    if (row <= cut.rows + 1) piece_.copy(source_, row - half_, in_row(to, X::row(phase)), cut);
    commit_copies();
  }
  /// A row of y, and the row of dx two above it.
  __device__ __forceinline__ void store(int row, int phase, const Cut& cut) const {
    const int own = row - 2 * half_;
    if (static_cast<unsigned>(own) < static_cast<unsigned>(stored_rows_))
      target_[piece_.index_of(own, cut)] = *in_row(place_, Y::row(phase));
  }

 private:
  int half_;
  Piece piece_;
  const void* source_;
  Pixel* target_;
  Pixel *place_, *late_place_;  // where the ring of x would have its rows; late ones of dy begin anew there
  int stored_rows_;
};

/// Makes g of sums ahead of GELU, and leaves a row of it, and one of y, in shared memory.
template <int row_size>
__device__ __forceinline__ void differentiate(const FragmentD& sums, const Strip& strip, int phase,
                                              float (&g)[4]) {
  uint32_t dy[2];
  load_matrices<2>(dy, in_row(strip.pair, Rings<row_size>::Dy::row(phase)) + 1);
  float y[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float factor = i % 2 == 0 ? low_bf16(dy[i / 2]) : high_bf16(dy[i / 2]);
    g[i] = factor * gelu_derivative<bf16>(sums.values[i]);
    y[i] = gelu<bf16>(sums.values[i]);
  }
  strip.store(Rings<row_size>::G::row(phase), g);
  strip.store(Rings<row_size>::Y::row(phase), y);
}

template <bool accumulates_dx, int row_size>
__global__ void __launch_bounds__(kBoundedThreads)
    backward(DepthwiseGeluBackward args, Cut cut, float* partials, unsigned* counters) {
  using Rows = Rings<row_size>;
  clear_pixels(kRows * row_size, cut);
  const Mover<row_size> mover(args, cut);
  const Strip strip(cut);
  const Taps taps(args.w, strip.channel, cut.channels);
  const FragmentD start = start_of(args.bias, strip.channel, cut.channels);
  Sums sums, dx;
  WeightSums weights;
  GradientSums gradients(reinterpret_cast<Edge*>(dynamic_shared<Pixel>() + kRows * row_size), cut);
  __syncthreads();

  /// A row of x, by which the sums above it are complete.
  const auto begin = [&](int row, int phase) __attribute__((always_inline)) {
    wait_copies<kAhead - 1>();
    __syncthreads();
    mover.copy(row + kAhead, phase + kAhead, cut);
  };
  const auto add_x = [&](int phase) __attribute__((always_inline)) {
    convolve(in_row(strip.pair, Rows::X::row(phase)), phase, taps, start, sums);
  };
  /// A row of g, by which the row of dx above it is complete.
  const auto add_g = [&](int row, int phase) __attribute__((always_inline)) {
    dx.row(phase) = {};
    add_row(Shifted::mirrored(in_row(strip.pair, Rows::G::row(phase - 1))), taps, dx.row(phase - 2),
            dx.row(phase - 1), dx.row(phase));
    FragmentD complete = dx.row(phase - 2);
    if constexpr (accumulates_dx)
      if (cut.is_own(row - 1)) add_stored_dx(complete.values, strip, row - 1, args, cut);
    strip.store(Rows::Dx::row(phase), complete.values);
  };
#pragma unroll
  for (int row = -2; row < kAhead - 2; ++row) mover.copy(row, row, cut);
#pragma unroll
  for (int row = -2; row < 0; ++row) {
    begin(row, row);
    add_x(row);
  }
  int row = 0;  // of x that is added
  walk([&](auto phase) __attribute__((always_inline)) {
    begin(row, phase);
    mover.store(row - 2, phase - 1, cut);
    add_g(row - 2, phase);
    weights.add<row_size>(row - 3, phase, strip, cut);
    if (row <= cut.rows + 1) {
      add_x(phase);
      float g[4];
      differentiate<row_size>(sums.row(phase - 1), strip, phase, g);
      if (cut.is_own(row - 1)) gradients.add(row - 1, g);
    }
    return ++row <= cut.rows + 3;
  });
  wait_copies();
  __syncthreads();
  if (!partials) return;
  store_partial(weights, gradients, strip, args, cut, partials);
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
