// Depthwise 3×3 + bias + GELU.  A thread owns neighbouring channels of one column and walks down a band of
// rows: each row of x that it reads (its own pixel and both neighbours) is added to the three rows of sums
// that need it, so that sums and weights stay in registers.  The next row is loaded while this one is
// computed.
// Backward makes one pass too.  The value ahead of GELU is recomputed on the way down; g = dy · gelu' of a
// row goes to shared memory, from where the owner of a pixel takes the three g that its dx needs, and the
// same three serve dw, since
//   dx[r, c] = Σ w[ky, kx] g[r − ky + 1, c − kx + 1],   dw[ky, kx] = Σ x[r, c] g[r − ky + 1, c − kx + 1].
// A block leaves one partial sum of dw and dbias; a second launch adds them in order.
// Cost: one read and write of every map; each band reads two rows more forward, four backward, and each tile
// its neighbours' columns, mostly from the cache.  In bf16 41 instructions a value forward and 98 backward
// (counted for compute capability 9.0), which weigh more than the bytes do.
// Limits: channels that are not a multiple of 16 bytes (8 backward) are loaded one by one.
#include "kernels/depthwise_gelu.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/gelu.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kLanes = 8;         // threads side by side on channels
constexpr int kMostColumns = 24;  // threads side by side on columns
constexpr int kThreads = kLanes * kMostColumns;
constexpr int kMostRows = 24;  // of a band
constexpr int kTaps = 9;
constexpr int kParameters = kTaps + 1;  // weights and bias of a channel

/// How a map is cut into blocks: bands of rows × tiles of columns × chunks of channels.
struct Tiling {
  int height, width, channels;
  int halo;  // threads on either side of a tile's columns
  int tiles, columns, bands, rows;
  int64_t chunks;

  Tiling(int h, int w, int c, int pack, bool with_halo) : height(h), width(w), channels(c) {
    halo = with_halo && w > kMostColumns ? 1 : 0;
    tiles = static_cast<int>(ceil_div(w, kMostColumns - 2 * halo));
    columns = tiles ? static_cast<int>(ceil_div(w, tiles)) : 1;
    bands = static_cast<int>(ceil_div(h, kMostRows));
    rows = bands ? static_cast<int>(ceil_div(h, bands)) : 0;
    chunks = ceil_div(c, kLanes * pack);
  }
  int64_t parts(int64_t images) const { return images * bands * tiles; }
  /// Whole warps: their lanes exchange sums.
  LaunchShape shape(std::string_view name, int64_t images) const {
    return {.name = name,
            .grid = {parts(images) * chunks},
            .block = {kLanes, ceil_div(columns + 2 * halo, 4) * 4}};
  }
};

/// What one thread works on: `pack` channels of a column, in rows [first, end).
template <int pack>
struct Place {
  int64_t part, image;
  int first, end, column;
  int64_t channel;
  bool inside;  // column and channel exist
  bool owner;   // and the column is not of the halo

  __device__ explicit Place(const Tiling& t) {
    part = blockIdx.x / t.chunks;
    channel = (blockIdx.x % t.chunks * kLanes + threadIdx.x) * pack;
    const int tile = static_cast<int>(part % t.tiles), band = static_cast<int>(part / t.tiles % t.bands);
    image = part / t.tiles / t.bands;
    first = band * t.rows;
    end = min(first + t.rows, t.height);
    const int rank = static_cast<int>(threadIdx.y) - t.halo;
    column = tile * t.columns + rank;
    inside = column >= 0 && column < t.width && channel < t.channels;
    owner = inside && rank >= 0 && rank < t.columns;
  }
};

/// Weights and bias of a thread's channels, by way of shared memory, since parameters need not be aligned.
template <int pack>
struct Taps {
  Floats<pack> w[kTaps], bias;

  __device__ Taps(const float* weights, const float* biases, const Tiling& t) {
    constexpr int count = kLanes * pack;
    auto& staged = shared<Pack<float, pack>[kParameters][kLanes], struct StagedTaps>();
    const int64_t first = blockIdx.x % t.chunks * count;
    for (int i = thread_rank(); i < kParameters * count; i += blockDim.x * blockDim.y) {
      const int tap = i / count, lane = i % count;
      const float* row = tap < kTaps ? weights + int64_t{tap} * t.channels : biases;
      staged[tap][lane / pack][lane % pack] = first + lane < t.channels ? row[first + lane] : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) w[tap] = load<pack>(&staged[tap][threadIdx.x][0]);
    bias = load<pack>(&staged[kTaps][threadIdx.x][0]);
  }
};

template <int pack>
__device__ __forceinline__ void add_product(Floats<pack>& sum, const Floats<pack>& a, const Floats<pack>& b) {
#pragma unroll
  for (int i = 0; i < pack; ++i) sum[i] += a[i] * b[i];
}

/// Values as they are loaded, until they are needed as floats.  Pairs of bf16 stay together in words, from
/// which each of them is one instruction away.
template <typename T, int pack>
struct Raw {
  using Word = std::conditional_t<sizeof(T) == 2 && pack % 2 == 0, unsigned, T>;
  static constexpr int kWords = pack * sizeof(T) / sizeof(Word);
  Pack<Word, kWords> words{};

  __device__ __forceinline__ void load(const T* source) {
    words = load_pack<kWords>(reinterpret_cast<const Word*>(source));
  }
  __device__ __forceinline__ Floats<pack> widen() const {
    Floats<pack> result;
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (std::is_same_v<Word, T>) {
        result[i] = as_float(words[i]);
      } else {
        result[2 * i] = low_bf16(words[i]);
        result[2 * i + 1] = high_bf16(words[i]);
      }
    }
    return result;
  }
};

/// One row of what a column's sums need: the pixels to the left, here and to the right, zero outside.
template <int pack, typename T>
struct Pixels {
  Raw<T, pack> values[3];

  /// `map` points to the image's first pixel, at the thread's channels.
  __device__ void load_row(const T* map, const Tiling& t, const Place<pack>& place, int row) {
    const T* pixel = map + (int64_t{row} * t.width + place.column) * t.channels;
    const bool inside = place.inside && row >= 0 && row < t.height;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const int column = place.column + i - 1;
      values[i] = {};
      if (inside && column >= 0 && column < t.width) values[i].load(pixel + int64_t{i - 1} * t.channels);
    }
  }
};

/// Sums of three output rows: [0] is complete once a row of pixels has been added.
template <int pack>
struct Sums {
  Floats<pack> rows[3];

  template <typename T>
  __device__ __forceinline__ void add(const Pixels<pack, T>& pixels, const Taps<pack>& taps) {
#pragma unroll
    for (int kx = 0; kx < 3; ++kx) {
      const Floats<pack> value = pixels.values[kx].widen();
#pragma unroll
      for (int row = 0; row < 3; ++row) add_product(rows[row], taps.w[3 * (2 - row) + kx], value);
    }
  }
  __device__ __forceinline__ void move_down(const Floats<pack>& start) {
    rows[0] = rows[1];
    rows[1] = rows[2];
    rows[2] = start;
  }
};

template <int pack, typename T>
__global__ void __launch_bounds__(kThreads) forward(DepthwiseGeluForward args, Tiling tiling) {
  const Place<pack> place(tiling);
  const Taps<pack> taps(args.w, args.bias, tiling);
  if (!place.owner) return;
  const int64_t offset = place.image * tiling.height * tiling.width * tiling.channels + place.channel;
  const T* x = static_cast<const T*>(args.x) + offset;
  T* y = static_cast<T*>(args.y) + offset;

  Sums<pack> sums{{taps.bias, taps.bias, taps.bias}};
  Pixels<pack, T> next;
  next.load_row(x, tiling, place, place.first - 1);
  for (int row = place.first - 1; row <= place.end; ++row) {
    const Pixels<pack, T> pixels = next;
    if (row < place.end) next.load_row(x, tiling, place, row + 1);
    sums.add(pixels, taps);
    if (row > place.first) {
      Floats<pack> values;
#pragma unroll
      for (int i = 0; i < pack; ++i) values[i] = gelu(sums.rows[0][i]);
      store<pack>(y + (int64_t{row - 1} * tiling.width + place.column) * tiling.channels, values);
    }
    sums.move_down(taps.bias);
  }
}

/// What a thread carries down its column for the gradients.
template <int pack>
struct Gradients {
  Floats<pack> w[kTaps]{}, bias{};
  Floats<pack> own[3]{};  // its pixel of x in the rows above, at and below that of g
  Floats<pack> dx[3]{};   // sums of the same rows

  /// g points to the row's g in shared memory, at the right neighbour of the thread's column.
  __device__ __forceinline__ void add(const float* g, const Taps<pack>& taps) {
#pragma unroll
    for (int kx = 0; kx < 3; ++kx) {
      const auto value = load<pack>(g - kx * kLanes * pack);
#pragma unroll
      for (int ky = 0; ky < 3; ++ky) {
        add_product(w[3 * ky + kx], own[ky], value);
        add_product(dx[ky], taps.w[3 * ky + kx], value);
      }
    }
  }
  __device__ __forceinline__ void move_down() {
    own[0] = own[1];
    own[1] = own[2];
    dx[0] = dx[1];
    dx[1] = dx[2];
    dx[2] = {};
  }
};

/// Adds the weight gradients of all columns of the block: by a tree in every warp, then over warps in order.
template <int pack>
__device__ void store_partial(const Gradients<pack>& gradients, const Tiling& t, int64_t part,
                              float* partials) {
  constexpr int count = kLanes * pack, kWarps = kThreads / kWarpSize;
  auto& sums = shared<float[kWarps][kParameters][count], struct WarpGradients>();
#pragma unroll
  for (int tap = 0; tap < kParameters; ++tap)
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      float sum = tap < kTaps ? gradients.w[tap % kTaps][i] : gradients.bias[i];
      for (int offset = kWarpSize / 2; offset >= kLanes; offset /= 2)
        sum += __shfl_xor_sync(kFullWarp, sum, offset);
      if (lane_index() < kLanes) sums[warp_index()][tap][threadIdx.x * pack + i] = sum;
    }
  __syncthreads();
  const int threads = blockDim.x * blockDim.y;
  const int64_t first = blockIdx.x % t.chunks * count;
  for (int i = thread_rank(); i < kParameters * count; i += threads) {
    const int tap = i / count, channel = i % count;
    if (first + channel >= t.channels) continue;
    float sum = 0.0f;
    for (int warp = 0; warp < threads / kWarpSize; ++warp) sum += sums[warp][tap][channel];
    partials[(part * kParameters + tap) * t.channels + first + channel] = sum;
  }
}

template <int pack, typename T>
__global__ void __launch_bounds__(kThreads)
    backward(DepthwiseGeluBackward args, Tiling tiling, float* partials) {
  // Two rows of g take turns, so that one barrier a row is enough; either end is a column of zeros.
  auto& ring = shared<Pack<float, pack>[2][kMostColumns + 2][kLanes], struct RowsOfG>();
  const Place<pack> place(tiling);
  const Taps<pack> taps(args.w, args.bias, tiling);
  if (threadIdx.y < 2)
    for (int i = 0; i < pack; ++i)
      ring[threadIdx.y][0][threadIdx.x][i] = ring[threadIdx.y][blockDim.y + 1][threadIdx.x][i] = 0.0f;
  const int64_t offset = place.image * tiling.height * tiling.width * tiling.channels + place.channel;
  const T* x = static_cast<const T*>(args.x) + offset;
  const auto pixel = [&](auto* map, int row) {
    return map + offset + (int64_t{row} * tiling.width + place.column) * tiling.channels;
  };

  Sums<pack> sums{{taps.bias, taps.bias, taps.bias}};
  Gradients<pack> gradients;
  Pixels<pack, T> next;
  next.load_row(x, tiling, place, place.first - 2);
  for (int below = place.first - 2; below <= place.end + 1; ++below) {
    const int row = below - 1;  // of g: the last whose sums are complete
    const bool g_inside = place.inside && row >= 0 && row < tiling.height;
    const Pixels<pack, T> pixels = next;
    if (below <= place.end) next.load_row(x, tiling, place, below + 1);
    Raw<T, pack> dy;
    if (g_inside) dy.load(pixel(static_cast<const T*>(args.dy), row));
    sums.add(pixels, taps);
    if (below >= place.first && below < place.end)
      gradients.own[2] = pixels.values[1].widen();
    else
      gradients.own[2] = {};

    if (row >= place.first - 1) {
      Floats<pack> g = dy.widen();
#pragma unroll
      for (int i = 0; i < pack; ++i) g[i] = g_inside ? g[i] * gelu_derivative(sums.rows[0][i]) : 0.0f;
      auto& line = ring[row & 1];
      store<pack>(&line[threadIdx.y + 1][threadIdx.x][0], g);
      __syncthreads();
      if (place.owner) {
        gradients.add(&line[threadIdx.y + 2][threadIdx.x][0], taps);
        if (row >= place.first && row < place.end)
#pragma unroll
          for (int i = 0; i < pack; ++i) gradients.bias[i] += g[i];
        if (row > place.first && args.dx) {
          T* target = pixel(static_cast<T*>(args.dx), row - 1);
          if (args.accumulate_dx) {
            const auto before = load<pack>(target);
#pragma unroll
            for (int i = 0; i < pack; ++i) gradients.dx[0][i] += before[i];
          }
          store<pack>(target, gradients.dx[0]);
        }
      }
    }
    sums.move_down(taps.bias);
    gradients.move_down();
  }
  if (partials) store_partial(gradients, tiling, place.part, partials);
}

/// dw and dbias (+)= the sum of all parts.
__global__ void __launch_bounds__(kPartColumns* kPartThreads)
    add_parts(DepthwiseGeluBackward args, const float* partials, int64_t parts) {
  const int64_t columns = int64_t{kParameters} * args.channels, weights = int64_t{kTaps} * args.channels;
  const int64_t column = column_of_parts();
  const double total = sum_of_parts(column < columns ? parts : 0,
                                    [=](int64_t part) { return double{partials[part * columns + column]}; });
  if (threadIdx.y > 0 || column >= columns) return;
  float& target = column < weights ? args.dw[column] : args.dbias[column - weights];
  target = (args.accumulate_parameters ? target : 0.0f) + static_cast<float>(total);
}

/// Calls body(pack) with `widest`, or 1 if rows of channels cannot be loaded by packs.
template <int widest, typename Body>
void with_pack(int channels, std::initializer_list<const void*> pointers, Body body) {
  if (packable(channels, pointers) % widest == 0)
    body(std::integral_constant<int, widest>{});
  else
    body(std::integral_constant<int, 1>{});
}

}  // namespace

void run(const DepthwiseGeluForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack<kPackWidth<T>>(args.channels, {args.x, args.y}, [&](auto pack) {
      const Tiling tiling(args.height, args.width, args.channels, pack, false);
      launch(queue, tiling.shape(args.name, args.images), forward<pack, T>, args, tiling);
    });
  });
}

void run(const DepthwiseGeluBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack<4>(args.channels, {args.x, args.dy, args.dx}, [&](auto pack) {
      const Tiling tiling(args.height, args.width, args.channels, pack, true);
      const int64_t parts = tiling.parts(args.images), columns = int64_t{kParameters} * args.channels;
      float* partials = args.dw ? queue.scratch(parts * columns) : nullptr;
      launch(queue, tiling.shape(args.name, args.images), backward<pack, T>, args, tiling, partials);
      if (args.dw) launch(queue, shape_for_parts(args.name, columns), add_parts, args, partials, parts);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
