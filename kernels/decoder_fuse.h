#pragma once
#include <array>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// The decoder's fuse without its concatenation: a 1×1 convolution and bilinear interpolation commute, and
/// interpolation weights sum to one, so fuse(concat(up(W_i x_i + b_i))) = Σ_i up(z_i) + bias with
/// z_i = (F_i W_i) x_i and bias = Σ_i F_i b_i.
/// z[i] [images, heights[i], widths[i], channels]; level 0 has the size of y; align_corners is false.
struct DecoderFuseForward {
  static constexpr std::string_view name = "decoder_fuse.forward";
  DType dtype = DType::f32;
  std::array<const void*, 4> z{};
  std::array<int, 4> heights{}, widths{};
  const float* bias = nullptr;
  void* y = nullptr;
  int64_t images = 0;
  int channels = 0;
  Cost cost() const {
    int64_t cells = int64_t{heights[0]} * widths[0];
    const int64_t outputs = images * cells * channels;
    for (int i = 0; i < 4; ++i) cells += int64_t{heights[i]} * widths[i];
    return {images * cells * channels * size_of(dtype), 22 * outputs};
  }
};

namespace cpu {
void run(const DecoderFuseForward&, Queue&);
}
namespace cuda {
void run(const DecoderFuseForward&, Queue&);
}
namespace simt {
void run(const DecoderFuseForward&, Queue&);
}

}  // namespace scrawl
