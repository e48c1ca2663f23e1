#pragma once
// How the kernels of depthwise 3×3 walk a map.  A thread owns neighbouring channels of a few neighbouring
// columns and goes down a band of rows: each row of x (its own pixels and one on either side) is added to the
// three rows of sums that need it, so that sums and weights stay in registers.  Rows come by way of shared
// memory, copied there two rows ahead in pieces of 16 bytes, zeros for what lies outside of the map.
// Limits: channels that are not a multiple of 16 bytes are loaded one by one.
#include "kernels/cuda/depthwise/gelu.cuh"
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU::depthwise {

inline constexpr int kLanes = 8;        // threads side by side on channels
inline constexpr int kColumns = 4;      // of a thread
inline constexpr int kMostGroups = 32;  // of kLanes threads, in a block
inline constexpr int kMostSlices = 4;   // of kLanes packs of channels, in a block
inline constexpr int kMostThreads = kLanes * kMostGroups;
inline constexpr int kFewestRows = 6;             // of a band, where there are as many
inline constexpr int64_t kMultiprocessors = 132;  // of a large GPU
inline constexpr int64_t kBusyWarps = 10;  // fewer leave a multiprocessor waiting: further ones cost nothing
inline constexpr int kStages = 3;          // rows in shared memory: sums and gradients span as many
inline constexpr int kTaps = 9;
inline constexpr int kParameters = kTaps + 1;  // weights and bias of a channel

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
inline constexpr int kStagedGroups = kMostGroups + 2 * kMostSlices;
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

/// Calls body(pack) with 2, or 1 if rows of channels cannot be copied in pieces of 16 bytes.
template <typename T, typename Body>
void with_pack(int channels, std::initializer_list<const void*> pointers, Body body) {
  if (packable(channels, pointers) % kPackWidth<T> == 0)
    body(std::integral_constant<int, 2>{});
  else
    body(std::integral_constant<int, 1>{});
}

}  // namespace scrawl::SCRAWL_GPU::depthwise
