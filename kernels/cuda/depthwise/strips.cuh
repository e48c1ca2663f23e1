#pragma once
// Depthwise 3×3 of maps in bf16 on tensor cores, for forward and backward alike.
// A warp owns a strip of 16 columns of 8 channels and walks down rows.  A row of the strip, shifted by a
// kernel column, is a matrix [16 positions, 8 channels]; two such side by side, times the diagonal matrices
// of two kernel columns' weights one above the other, are what these add to sums of 16 × 8 values.  Of a
// diagonal only one product in eight counts, but a tensor core does those eight faster than other units do
// the one.  Weights count to 16 bits: each is the sum of two bf16, so a row of the kernel takes three
// instructions, and a row of the map, read once, is added to the three rows of sums that need it.
// Segments of rows, each of full width and as many rows, are laid side by side until they fill strips: bands
// of an image, or of several.  So narrow maps waste nothing.
// Rows come to shared memory some rows ahead, zeros for what lies outside of the map; results leave by way of
// shared memory, too, in pieces of 16 bytes.  In there, a row is a plane of pixels for each 8 channels: 8
// neighbouring pixels are 128 bytes, which ldmatrix reads without bank conflicts.
// Limits: bf16, channels in whole packs of 8, aligned to 16 bytes; at most 256 columns, whose rows just fit
// into the 99 KB of shared memory that every GPU with these instructions has.  A NaN or infinity spreads to
// the other channels of its eight.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/dtype.h"

namespace scrawl::SCRAWL_GPU::strips {

inline constexpr int kStrip = 16;         // positions of a warp
inline constexpr int kGroup = 8;          // channels of a warp
inline constexpr int kMostWidth = 256;    // of a map
inline constexpr int kPairedWidth = 128;  // up to which a block has two groups of channels
inline constexpr int kFullRow = 80;       // positions of a block, where a segment does not need more
inline constexpr int kFewestRows = 4;     // of a segment, where there are as many
inline constexpr int kCycle = 6;          // rows after which every ring is where it began
inline constexpr int kTaps = 9;
inline constexpr int64_t kMostPieces = 1 << 28;  // of a map: their numbers, some rows beyond it, are integers
inline constexpr int64_t kMultiprocessors = 132;  // of a large GPU
inline constexpr int64_t kBusyWarps = 16;         // fewer leave a multiprocessor waiting

using Pixel = Pack<bf16, kGroup>;

// Pixels of a row in shared memory, those of all groups; known when kernels are compiled, since then most
// addresses there are constants.
inline constexpr int kShortRow = 2 * 88, kLongRow = 2 * 132;

/// What a kernel has to know to be cut into blocks.
struct Plan {
  int shared_rows;         // rows of pixels that it keeps in shared memory
  int thread_bytes = 0;    // that a thread has in there besides
  int64_t resident_warps;  // of a multiprocessor
  int extra_rows;          // that a segment costs beyond its own
};

/// How maps are cut: into segments of rows, `segments` of them and some groups of channels a block.
struct Cut {
  int images, height, width, channels;
  int groups, segments, strips, pixels;  // pixels: of a row in shared memory, of one group
  int rows = 0;                          // of a segment
  int bands = 0, chunks, parts = 0;      // bands: segments of an image; parts: blocks of the same channels
  Divisor by_width, by_bands, by_chunks;

  Cut(int64_t n, int h, int w, int c, const Plan& plan)
      : images(static_cast<int>(n)),
        height(h),
        width(w),
        channels(c),
        groups(c > kGroup && w <= kPairedWidth ? 2 : 1),
        segments(fullest_row(n * std::max(1, h / kFewestRows))),
        strips(strips_of(segments)),
        pixels(pixels_of(segments)),
        chunks(static_cast<int>(ceil_div(c, groups * kGroup))),
        by_width(w),
        by_bands(1),
        by_chunks(chunks) {
    cut_rows(plan);
    by_bands = Divisor(bands);
    parts = static_cast<int>(ceil_div(n * bands, segments));
  }
  constexpr int threads() const { return strips * groups * kWarpSize; }
  /// Whether a row is the segment's own, not one of its neighbours'.
  __device__ __forceinline__ bool is_own(int row) const {
    return static_cast<unsigned>(row) < static_cast<unsigned>(rows);
  }
  int row_size() const { return groups * pixels <= kShortRow ? kShortRow : kLongRow; }
  LaunchShape shape(std::string_view name, const Plan& plan) const {
    const int64_t row_bytes = row_size() * static_cast<int64_t>(sizeof(Pixel));
    return {.name = name,
            .grid = {int64_t{parts} * chunks},
            .block = {threads()},
            .shared_bytes = plan.shared_rows * row_bytes + int64_t{plan.thread_bytes} * threads()};
  }
  /// Where a position lies in a row in shared memory: segments have a pixel of zeros at either end.
  __device__ __forceinline__ int pixel(int position) const {
    return position + 2 * by_width.divide(position).quotient + 1;
  }

 private:
  int strips_of(int count) const { return static_cast<int>(ceil_div(count * width, kStrip)); }
  int pixels_of(int count) const {
    const int last = strips_of(count) * kStrip - 1;
    return last + 2 * (last / width) + 3;
  }
  /// How many segments side by side leave the least of their strips empty.
  int fullest_row(int64_t most) const {
    int best = 1;
    for (int count = 2; count <= most && count * width <= kFullRow && groups * pixels_of(count) <= kLongRow;
         ++count)
      if (count * strips_of(best) >= best * strips_of(count)) best = count;
    return best;
  }
  /// Into the number of bands with which the busiest multiprocessor has least to do.
  void cut_rows(const Plan& plan) {
    const int64_t warps = strips * groups, resident = std::max<int64_t>(1, plan.resident_warps / warps);
    int64_t least = INT64_MAX;
    for (int64_t count = 1; count <= std::max(1, height / kFewestRows); ++count) {
      const int64_t blocks = ceil_div(ceil_div(images * count, segments) * chunks, kMultiprocessors);
      const int64_t rest = blocks % resident;
      const int64_t busy = blocks / resident * std::max(resident * warps, kBusyWarps) +
                           (rest > 0 ? std::max(rest * warps, kBusyWarps) : 0);
      const int64_t time = busy * (ceil_div(height, count) + plan.extra_rows);
      if (time >= least) continue;
      least = time;
      rows = static_cast<int>(ceil_div(height, count));
    }
    bands = static_cast<int>(ceil_div(height, rows));
  }
};

/// For the host: whether the kernels can take such maps.  Both decide alike, as long as all maps are aligned.
template <typename Args>
bool takes(const Args& args, std::initializer_list<const void*> maps) {
  return args.dtype == DType::bf16 && args.width <= kMostWidth && args.elements() > 0 &&
         packable(args.channels, maps) % kGroup == 0 && args.elements() / kGroup < kMostPieces;
}

/// For the host: calls body(std::integral_constant<int, row size>).
template <typename Body>
void with_row_size(const Cut& cut, Body body) {
  if (cut.row_size() == kShortRow)
    body(std::integral_constant<int, kShortRow>{});
  else
    body(std::integral_constant<int, kLongRow>{});
}

struct Block {
  int part, chunk;
  __device__ __forceinline__ explicit Block(const Cut& cut) {
    const auto [quotient, remainder] = cut.by_chunks.divide(static_cast<int>(blockIdx.x));
    part = quotient;
    chunk = remainder;
  }
};

inline constexpr int kNowhere = -(1 << 30);  // a row that lies far outside, as do its neighbours

/// A position in its segment's first row.
struct Origin {
  int pixel;  // of the map
  int row, column;

  /// No row of positions beyond the last segment lies in the map.
  __device__ __forceinline__ Origin(const Cut& cut, int position) : pixel(0), row(kNowhere) {
    const auto [local, rest] = cut.by_width.divide(position);
    const auto [image, band] = cut.by_bands.divide(Block(cut).part * cut.segments + local);
    column = rest;
    if (local >= cut.segments || image >= cut.images) return;
    row = band * cut.rows;
    pixel = (image * cut.height + row) * cut.width + column;
  }
};

/// Rows in shared memory that begin with number `first` there.  The row that a step is about counts in
/// phases, those of the map modulo kCycle.
template <int row_size, int slots, int first>
struct Ring {
  static_assert(kCycle % slots == 0);
  static constexpr int begin = first * row_size * static_cast<int>(sizeof(Pixel));
  /// Bytes from where rows begin.
  static constexpr int row(int phase) {
    return begin + (phase + kCycle) % slots * row_size * static_cast<int>(sizeof(Pixel));
  }
};
template <typename T>
__device__ __forceinline__ T* in_row(T* place, int row) {
  using Byte = std::conditional_t<std::is_const_v<T>, const unsigned char, unsigned char>;
  return reinterpret_cast<T*>(reinterpret_cast<Byte*>(place) + row);
}

/// 16 bytes of every row, which a thread moves between a map and shared memory.
struct Piece {
  Pixel* place;  // in a row in shared memory
  int row;       // of the map, in which the segment begins
  int index;     // of these 16 bytes in that row of the map

  /// `rank` counts the pieces of a row.
  __device__ Piece(const Cut& cut, int rank) {
    const int group = rank & (cut.groups - 1), position = rank >> (cut.groups - 1);
    const Origin origin(cut, position);
    const int pixel_groups = cut.channels / kGroup, channel_group = Block(cut).chunk * cut.groups + group;
    place = dynamic_shared<Pixel>() + group * cut.pixels + cut.pixel(position);
    row = channel_group < pixel_groups ? origin.row : kNowhere;
    index = origin.pixel * pixel_groups + channel_group;
  }
  __device__ __forceinline__ int index_of(int segment_row, const Cut& cut) const {
    return index + segment_row * cut.width * (cut.channels / kGroup);
  }
  /// Zeros for what lies outside of the map.
  __device__ __forceinline__ void copy(const void* map, int segment_row, Pixel* to, const Cut& cut) const {
    const bool inside = static_cast<unsigned>(row + segment_row) < static_cast<unsigned>(cut.height);
    copy_async<16>(to, static_cast<const Pixel*>(map) + index_of(segment_row, cut), inside);
  }
  /// How many rows of the segment there are in the map.
  __device__ int rows_inside(const Cut& cut) const { return row < 0 ? 0 : min(cut.rows, cut.height - row); }
};

/// Where a warp's strip lies in a row in shared memory, for each lane.
struct Strip {
  Pixel* pair;                // left neighbours of positions lane % 16, and for lanes from 16 on themselves
  Pixel* columns;             // positions lane % 8 + 8 · (lane / 16), for the transpose of two rows
  int first, group, channel;  // position, group in the block and channel of the map that it begins with

  __device__ explicit Strip(const Cut& cut) {
    const int lane = lane_index(), warp = warp_index();
    group = warp & (cut.groups - 1);
    first = (warp >> (cut.groups - 1)) * kStrip;
    channel = (Block(cut).chunk * cut.groups + group) * kGroup;
    Pixel* const plane = dynamic_shared<Pixel>() + group * cut.pixels;
    pair = plane + cut.pixel(first + lane % kStrip) + lane / kStrip - 1;
    columns = plane + cut.pixel(first + lane % 8 + lane / 16 * 8);
  }
  /// Rounds a fragment and stores it.
  __device__ __forceinline__ void store(int row, const float (&values)[4]) const {
    store_matrices(in_row(pair, row) + 1, pack_bf16(values[0], values[1]), pack_bf16(values[2], values[3]));
  }
};

/// A strip's weights as diagonal matrices, each the sum of a high part and a low one.
struct Taps {
  struct Row {
    FragmentB high, low;  // of kernel columns 0 and 1
    FragmentB last;       // of column 2: the high part above the low one
  } rows[3];

  __device__ Taps(const float* w, int channel, int channels) {
    const int column = lane_index() / 4;
    const bool diagonal = lane_index() % 4 == column / 2 && channel < channels;
    const auto word = [&](float value) {
      const unsigned bits = as_storage<bf16>(value).bits;
      return column % 2 == 0 ? bits : bits << 16;
    };
    for (int ky = 0; ky < 3; ++ky) {
      unsigned high[3], low[3];
      for (int kx = 0; kx < 3; ++kx) {
        const float value = diagonal ? w[int64_t{3 * ky + kx} * channels + channel + column] : 0.0f;
        high[kx] = word(value);
        low[kx] = word(value - to_float(as_storage<bf16>(value)));
      }
      rows[ky] = {{{high[0], high[1]}}, {{low[0], low[1]}}, {{high[2], low[2]}}};
    }
  }
};

/// A row of a strip, as kernel columns 0 and 1, side by side, and 2, twice, see it.
struct Shifted {
  FragmentA pair, last;

  /// `left` are neighbours on the left, for lanes from 16 on positions themselves.
  __device__ __forceinline__ explicit Shifted(const Pixel* left) {
    load_matrices<4>(pair.words, left);
    load_last(left + 2);
  }
  /// Where kernel columns count to the left, as for gradients.
  __device__ __forceinline__ static Shifted mirrored(const Pixel* left) {
    Shifted s;
    load_matrices<2>(s.pair.words, left + 2);
    load_matrices<2>(s.pair.words + 2, left + 1);
    s.load_last(left);
    return s;
  }

 private:
  Shifted() = default;
  __device__ __forceinline__ void load_last(const Pixel* pixel) {
    load_matrices<2>(last.words, pixel);
    last.words[2] = last.words[0];
    last.words[3] = last.words[1];
  }
};

/// Adds a row of a strip to the sums of three rows by the kernel's rows 0, 1 and 2.  In turns, so that no
/// product waits for the one before.
__device__ __forceinline__ void add_row(const Shifted& row, const Taps& taps, FragmentD& by_0,
                                        FragmentD& by_1, FragmentD& by_2) {
  mma(by_0, row.pair, taps.rows[0].high);
  mma(by_1, row.pair, taps.rows[1].high);
  mma(by_2, row.pair, taps.rows[2].high);
  mma(by_0, row.pair, taps.rows[0].low);
  mma(by_1, row.pair, taps.rows[1].low);
  mma(by_2, row.pair, taps.rows[2].low);
  mma(by_0, row.last, taps.rows[0].last);
  mma(by_1, row.last, taps.rows[1].last);
  mma(by_2, row.last, taps.rows[2].last);
}

/// What sums start from: the bias of a lane's two channels.
__device__ __forceinline__ FragmentD start_of(const float* bias, int channel, int channels) {
  const int mine = channel + lane_index() % 4 * 2;
  const float low = mine < channels ? bias[mine] : 0.0f, high = mine < channels ? bias[mine + 1] : 0.0f;
  return {{low, high, low, high}};
}

/// Sums of three neighbouring rows, by phase.
struct Sums {
  FragmentD rows[3]{};
  __device__ __forceinline__ FragmentD& row(int phase) { return rows[(phase + kCycle) % 3]; }
};

/// Adds a row of x, by which the sums above it are complete.  Both passes compute the same bits.
__device__ __forceinline__ void convolve(const Pixel* left, int phase, const Taps& taps,
                                         const FragmentD& start, Sums& sums) {
  sums.row(phase + 1) = start;
  add_row(Shifted(left), taps, sums.row(phase + 1), sums.row(phase), sums.row(phase - 1));
}

/// Fills so many pixels of shared memory with zeros.  A barrier must follow.
__device__ __forceinline__ void clear_pixels(int count, const Cut& cut) {
  auto* pixels = dynamic_shared<Pixel>();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += cut.threads()) pixels[i] = {};
}

/// Calls step(phase), phases as types, until one says that it was the last.
template <typename Step>
__device__ __forceinline__ void walk(Step step) {
  using std::integral_constant;
  static_assert(kCycle == 6);
  while (step(integral_constant<int, 0>{}) && step(integral_constant<int, 1>{}) &&
         step(integral_constant<int, 2>{}) && step(integral_constant<int, 3>{}) &&
         step(integral_constant<int, 4>{}) && step(integral_constant<int, 5>{}))
    continue;
}

}  // namespace scrawl::SCRAWL_GPU::strips
