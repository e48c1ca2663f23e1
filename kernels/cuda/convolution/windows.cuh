#pragma once
// Convolutions by windows of up to 64 positions, whose values at one tap of the kernel arrive by one copy of
// device/bulk_copy.cuh each.  Where the stride is s, a map is looked at as [images, height / s, s, width / s,
// s · channels]: then the values that the window's positions meet lie beside each other.
#include <algorithm>

#include "kernels/cuda/convolution/direct.h"
#include "kernels/cuda/device/bulk_copy.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kWindowPositions = 64;  // at most

/// How windows cover maps [height, width] of positions, all of one size.
struct Windows {
  int width = 1, height = 1;  // of one, in positions
  int across = 1, down = 1;   // how many cover a map

  /// As few as possible.
  static Windows over(int map_width, int map_height) {
    Windows best;
    int64_t fewest = int64_t{map_width} * map_height + 1;
    for (int w = 1; w <= std::min(map_width, kWindowPositions); ++w) {
      const int h = std::min(map_height, kWindowPositions / w);
      const int64_t across = ceil_div(map_width, w), down = ceil_div(map_height, h);
      if (across * down >= fewest) continue;
      fewest = across * down;
      best = {w, h, static_cast<int>(across), static_cast<int>(down)};
    }
    return best;
  }
  __host__ __device__ int positions() const { return width * height; }
  __host__ __device__ int per_map() const { return across * down; }
};

/// Whether a convolution can be computed by windows, and is not so large that a library's larger tiles are
/// faster.
inline bool fits_windows(DType dtype, const ConvolutionShape& shape,
                         std::initializer_list<const void*> pointers) {
  constexpr int64_t kMostWork = int64_t{1} << 32;  // products of two numbers
  return dtype == DType::bf16 && has_short_indices(shape) && shape.channels % 8 == 0 &&
         shape.out_channels % 8 == 0 && packable(8, pointers) == 8 && shape.height % shape.stride == 0 &&
         shape.width % shape.stride == 0 && shape.outputs() * shape.patch() < kMostWork;
}

/// A window's first position, and the number of its map.
struct WindowPlace {
  int across, down, image;
  __device__ WindowPlace(const Windows& windows, int window)
      : across(window % windows.across * windows.width),
        down(window / windows.across % windows.down * windows.height),
        image(window / windows.per_map()) {}
  /// To the next window, without divisions.
  __device__ void advance(const Windows& windows) {
    across += windows.width;
    if (across < windows.across * windows.width) return;
    across = 0;
    down += windows.height;
    if (down < windows.down * windows.height) return;
    down = 0;
    ++image;
  }
};

/// A distance along a map whose columns or rows are counted in groups of s: v = quotient · s + remainder,
/// rounded down.
struct Shift {
  int quotient, remainder;
  __device__ Shift(int v, int s)
      : quotient(v >= 0 ? v / s : -((s - 1 - v) / s)), remainder(v - quotient * s) {}
};

/// Where the values lie that a window's positions meet when they are shifted, from a channel on.
__device__ __forceinline__ TilePlace shifted(const WindowPlace& window, const Shift& x, const Shift& y,
                                             int channels, int channel) {
  return {{x.remainder * channels + channel, window.across + x.quotient, y.remainder,
           window.down + y.quotient, window.image}};
}

/// A map [images, height, width, channels] for such copies.  The stride divides height and width.
inline TiledTensor windows_of(const void* map, int64_t images, int64_t height, int64_t width,
                              int64_t channels, int64_t stride, const Windows& windows) {
  const int64_t row = width * channels;
  return {.values = static_cast<const bf16*>(map),
          .sizes = {stride * channels, width / stride, stride, height / stride, images},
          .strides = {stride * channels, row, stride * row, height * row},
          .tile = {windows.width, 1, windows.height, 1}};
}

}  // namespace scrawl::SCRAWL_GPU
