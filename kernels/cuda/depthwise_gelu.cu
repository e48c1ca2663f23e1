// Depthwise 3×3 + bias + GELU.  A thread owns neighbouring channels of a few neighbouring columns and walks
// down a band of rows: each row of x (its own pixels and one on either side) is added to the three rows of
// sums that need it, so that sums and weights stay in registers.  Rows come by way of shared memory, copied
// there two rows ahead in pieces of 16 bytes, zeros for what lies outside of the map.
// Backward makes one pass too.  The value ahead of GELU is recomputed on the way down; of g = dy · gelu' the
// threads of a row exchange their outermost columns through shared memory, so that each has what dx of its
// pixels needs, and the same g serve dw, since
//   dx[r, c] = Σ w[ky, kx] g[r − ky + 1, c − kx + 1],   dw[ky, kx] = Σ x[r, c] g[r − ky + 1, c − kx + 1].
// A block leaves one partial sum of dw and dbias; the last block of some channels adds theirs in order.
// y and dx_sum are the backward pass's for a few instructions more, since it has all that they are made of.
// Cost: one read and write of every map; each band reads up to two rows more forward, four backward.  In bf16
// about 28 instructions a value forward and 53 backward, 60 with y and dx_sum (counted for compute capability
// 9.0).  Backward takes all registers that two blocks leave each other: what could live in them is looked up
// or computed anew instead, as noted in places.
// Limits: channels that are not a multiple of 16 bytes are loaded one by one.
#include "kernels/depthwise_gelu.h"

#include <stdexcept>

#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/last_block.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/gelu.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kLanes = 8;        // threads side by side on channels
constexpr int kColumns = 4;      // of a thread
constexpr int kMostGroups = 32;  // of kLanes threads, in a block
constexpr int kMostSlices = 4;   // of kLanes packs of channels, in a block
constexpr int kMostThreads = kLanes * kMostGroups;
constexpr int kFewestRows = 6;             // of a band, where there are as many
constexpr int64_t kMultiprocessors = 132;  // of a large GPU
constexpr int64_t kBusyWarps = 10;         // fewer leave a multiprocessor waiting: further ones cost nothing
constexpr int kStages = 3;                 // rows in shared memory: sums and gradients span as many
constexpr int kTaps = 9;
constexpr int kParameters = kTaps + 1;  // weights and bias of a channel

/// How maps are cut into blocks: bands of rows × tiles of columns × chunks of channels.  A block's threads
/// are lanes, side by side on channels, × groups, side by side on columns, × slices, side by side on
/// channels.
struct Tiling {
  int height, width, channels;
  int groups, slices = 1;
  int halo;  // groups on either side of a tile that only serve their neighbours
  int tiles, bands = 0, rows = 0;
  int64_t chunks;

  Tiling(int64_t images, int h, int w, int c, int pack) : height(h), width(w), channels(c) {
    const int all = static_cast<int>(ceil_div(w, kColumns));
    halo = all > kMostGroups ? 1 : 0;
    tiles = static_cast<int>(ceil_div(all, kMostGroups - 2 * halo));
    groups = tiles ? static_cast<int>(ceil_div(all, tiles)) + 2 * halo : 1;
    while (slices < kMostSlices && 2 * slices * groups <= kMostGroups && slices * kLanes * pack < c)
      slices *= 2;
    chunks = ceil_div(c, slices * kLanes * pack);
    cut_rows(images * tiles * chunks);
  }
  constexpr int owners() const { return groups - 2 * halo; }
  int64_t parts(int64_t images) const { return images * bands * tiles; }
  LaunchShape shape(std::string_view name, int64_t images, int64_t shared_bytes) const {
    return {.name = name,
            .grid = {parts(images) * chunks},
            .block = {kLanes, groups, slices},
            .shared_bytes = shared_bytes};
  }

 private:
  /// Into the number of bands with which the busiest multiprocessor has least to do.  A band walks up to
  /// three rows more than it has.
  void cut_rows(int64_t blocks_of_band) {
    const int64_t warps = ceil_div(groups * slices * kLanes, kWarpSize);
    int64_t least = INT64_MAX;
    for (int64_t count = 1; count <= std::max(1, height / kFewestRows); ++count) {
      const int64_t blocks = ceil_div(blocks_of_band * count, kMultiprocessors);
      const int64_t time = std::max(blocks * warps, kBusyWarps) * (ceil_div(height, count) + 3);
      if (time >= least) continue;
      least = time;
      rows = static_cast<int>(ceil_div(height, count));
    }
    if (rows > 0) bands = static_cast<int>(ceil_div(height, rows));
  }
};

/// What one thread works on: `pack` channels of kColumns columns, in rows [first, end).
template <int pack>
struct Place {
  int64_t part, image;
  int first, end, column;
  int slice_channel, channel;  // the first of the slice, and of the thread
  int group;                   // among the staged ones of all slices
  bool owner;                  // of its columns: they are not of the halo

  __device__ explicit Place(const Tiling& t) {
    part = blockIdx.x / t.chunks;
    const int slice = static_cast<int>(blockIdx.x % t.chunks) * t.slices + static_cast<int>(threadIdx.z);
    slice_channel = slice * kLanes * pack;
    channel = slice_channel + static_cast<int>(threadIdx.x) * pack;
    const int tile = static_cast<int>(part % t.tiles), band = static_cast<int>(part / t.tiles % t.bands);
    image = part / t.tiles / t.bands;
    first = band * t.rows;
    end = min(first + t.rows, t.height);
    const int rank = static_cast<int>(threadIdx.y) - t.halo;
    column = (tile * t.owners() + rank) * kColumns;
    owner = rank >= 0 && rank < t.owners();
    group = static_cast<int>(threadIdx.z) * (t.groups + 2) + static_cast<int>(threadIdx.y) + 1;
  }
};

/// Weights and bias of a thread's channels, by way of shared memory, since parameters need not be aligned.
template <int pack>
struct Taps {
  Floats<pack> w[kTaps], bias;

  __device__ Taps(const float* weights, const float* biases, const Tiling& t) {
    auto& staged = shared<Pack<float, pack>[kParameters][kMostSlices * kLanes], struct StagedTaps>();
    const int count = t.slices * kLanes * pack;
    const int64_t first = blockIdx.x % t.chunks * count;
    for (int i = thread_rank(); i < kParameters * count; i += blockDim.x * blockDim.y * blockDim.z) {
      const int tap = i / count, lane = i % count;
      const float* row = tap < kTaps ? weights + int64_t{tap} * t.channels : biases;
      staged[tap][lane / pack][lane % pack] = first + lane < t.channels ? row[first + lane] : 0.0f;
    }
    __syncthreads();
    const int mine = static_cast<int>(threadIdx.z) * kLanes + static_cast<int>(threadIdx.x);
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) w[tap] = load<pack>(&staged[tap][mine][0]);
    bias = load<pack>(&staged[kTaps][mine][0]);
  }
};

template <int pack>
__device__ __forceinline__ void add_product(Floats<pack>& sum, const Floats<pack>& a, const Floats<pack>& b) {
#pragma unroll
  for (int i = 0; i < pack; ++i) sum[i] += a[i] * b[i];
}

/// A row of a map in shared memory.  Every slice has a group of zeros at either end; a column between groups
/// stays empty, so that the groups of a warp lie in different banks.
constexpr int kStagedGroups = kMostGroups + 2 * kMostSlices;
template <int pack, typename T>
struct StagedRow {
  Pack<T, pack> groups[kStagedGroups][kColumns + 1][kLanes];

  /// For one thread a lane and slice.
  __device__ void clear_ends(int group, int count) {
    groups[group - 1][kColumns - 1][threadIdx.x] = {};
    groups[group + count][0][threadIdx.x] = {};
  }
};

/// A thread's pixels in such a row.
template <int pack, typename T>
struct Pixels {
  const Pack<T, pack>* first;

  __device__ __forceinline__ Pixels(const StagedRow<pack, T>& row, int group)
      : first(&row.groups[group][0][threadIdx.x]) {}
  __device__ __forceinline__ Floats<pack> own(int i) const { return to_floats(first[i * kLanes]); }
  __device__ __forceinline__ Floats<pack> left() const { return to_floats(first[-2 * kLanes]); }
  __device__ __forceinline__ Floats<pack> right() const { return to_floats(first[(kColumns + 1) * kLanes]); }
};

/// Copies rows of a map to shared memory, one after another.  Where channels are no multiple of 16 bytes
/// (pack 1), one by one and without haste.
template <int pack, typename T>
class Stream {
  static constexpr int kPiece = pack == 1 ? 1 : kPackWidth<T>;  // values
  static constexpr int kPieces = kLanes * pack / kPiece;        // of a pixel
  static constexpr int kApart = kLanes / kPieces;               // columns between a thread's copies

 public:
  __device__ Stream(const T* map, const Tiling& t, const Place<pack>& place, int first_row)
      : height_(t.height), channels_(t.channels), row_values_(t.width * t.channels) {
    const int lane = static_cast<int>(threadIdx.x), piece = lane % kPieces * kPiece;
    const int column = place.column + lane / kPieces;
    target_ = (place.group * (kColumns + 1) + lane / kPieces) * kLanes * pack + piece;
    source_ = map + ((place.image * t.height + first_row) * t.width + column) * t.channels +
              place.slice_channel + piece;
#pragma unroll
    for (int i = 0; i < kColumns / kApart; ++i)
      inside_[i] = place.slice_channel + piece < t.channels && column + i * kApart >= 0 &&
                   column + i * kApart < t.width;
  }
  /// The next row, which the caller counts, since two streams then share the counter.
  __device__ __forceinline__ void copy_row(int index, StagedRow<pack, T>& row) {
    T* target = &row.groups[0][0][0][0] + target_;
    const bool row_inside = static_cast<unsigned>(index) < static_cast<unsigned>(height_);
#pragma unroll
    for (int i = 0; i < kColumns / kApart; ++i) {
      const bool valid = inside_[i] && row_inside;
      T* to = target + i * kApart * kLanes * pack;
      const T* from = source_ + i * kApart * channels_;
      if constexpr (kPiece == 1)
        *to = valid ? *from : T{};
      else
        copy_async<16>(to, from, valid);
    }
    source_ += row_values_;
  }

 private:
  const T* source_;
  int target_, height_, channels_, row_values_;
  bool inside_[kColumns / kApart];
};

/// Sums of three output rows: [0] is complete once a row of pixels has been added.
template <int pack>
struct Sums {
  Floats<pack> rows[3][kColumns];

  __device__ explicit Sums(const Floats<pack>& start) {
#pragma unroll
    for (auto& row : rows)
#pragma unroll
      for (auto& sum : row) sum = start;
  }
  /// Adds what a pixel does; column 0 is the left neighbour of the thread's own.
  __device__ __forceinline__ void add(int column, const Floats<pack>& value, const Taps<pack>& taps) {
#pragma unroll
    for (int kx = 0; kx < 3; ++kx) {
      const int i = column - kx;
      if (i < 0 || i >= kColumns) continue;
#pragma unroll
      for (int row = 0; row < 3; ++row) add_product(rows[row][i], taps.w[3 * (2 - row) + kx], value);
    }
  }
  template <typename T>
  __device__ __forceinline__ void add_row(const Pixels<pack, T>& pixels, const Taps<pack>& taps) {
    add(0, pixels.left(), taps);
#pragma unroll
    for (int i = 0; i < kColumns; ++i) add(i + 1, pixels.own(i), taps);
    add(kColumns + 1, pixels.right(), taps);
  }
  __device__ __forceinline__ void move_down(const Floats<pack>& start) {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      rows[0][i] = rows[1][i];
      rows[1][i] = rows[2][i];
      rows[2][i] = start;
    }
  }
};

/// Where a thread's results go, row after row.  There may be no map as long as nothing is stored.
template <int pack, typename T>
class Target {
 public:
  __device__ Target(T* map, const Tiling& t, const Place<pack>& place, int first_row)
      : channels_(t.channels), row_values_(t.width * t.channels) {
    const int64_t first =
        ((place.image * t.height + first_row) * t.width + place.column) * t.channels + place.channel;
    row_ = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(map) + first * sizeof(T));  // map may be null
#pragma unroll
    for (int i = 0; i < kColumns; ++i)
      inside_[i] = place.owner && place.channel < t.channels && place.column + i < t.width;
  }
  /// Adds what is there.
  __device__ void add_to(Floats<pack> (&values)[kColumns]) const {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      if (!inside_[i]) continue;
      const auto before = to_floats(load_pack<pack>(row_ + i * channels_));
#pragma unroll
      for (int j = 0; j < pack; ++j) values[i][j] += before[j];
    }
  }
  /// sum += the values of pixels that are there.
  __device__ __forceinline__ void add_up(const Floats<pack> (&values)[kColumns], Floats<pack>& sum) const {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
#pragma unroll
      for (int j = 0; j < pack; ++j)
        if (inside_[i]) sum[j] += values[i][j];
    }
  }
  /// One condition, since of several nvcc makes branches, and copies of what lies between two of them.
  __device__ __forceinline__ void store_pixel(int i, const Floats<pack>& value, bool wanted) const {
    if (inside_[i] & wanted) store<pack>(row_ + i * channels_, value);
  }
  __device__ __forceinline__ void move_down() {
    row_ += row_values_;
  }
  /// And moves down.
  __device__ __forceinline__ void store_row(const Floats<pack> (&values)[kColumns]) {
    T* pixel = row_;
#pragma unroll
    for (int i = 0; i < kColumns; ++i, pixel += channels_)
      if (inside_[i]) store<pack>(pixel, values[i]);
    move_down();
  }

 private:
  T* row_;
  unsigned channels_, row_values_;
  bool inside_[kColumns];
};

/// gelu, for values that are stored as T.
template <typename T, int pack>
__device__ __forceinline__ Floats<pack> activated(Floats<pack> values) {
#pragma unroll
  for (int i = 0; i < pack; ++i) values[i] = gelu<T>(values[i]);
  return values;
}

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

/// Calls body(pack) with 2, or 1 if rows of channels cannot be copied in pieces of 16 bytes.
template <typename T, typename Body>
void with_pack(int channels, std::initializer_list<const void*> pointers, Body body) {
  if (packable(channels, pointers) % kPackWidth<T> == 0)
    body(std::integral_constant<int, 2>{});
  else
    body(std::integral_constant<int, 1>{});
}

}  // namespace

void run(const DepthwiseGeluForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack<T>(args.channels, {args.x, args.y}, [&](auto pack) {
      const Tiling tiling(args.images, args.height, args.width, args.channels, pack);
      launch(queue, tiling.shape(args.name, args.images, sizeof(ForwardMemory<pack, T>)), forward<pack, T>,
             args, tiling);
    });
  });
}

void run(const DepthwiseGeluBackward& args, Queue& queue) {
  if (args.dx_sum && !args.dx) throw std::invalid_argument(std::string(args.name) + ": dx_sum needs dx");
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
