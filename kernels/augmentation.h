#pragma once
// The published augmentation of a training image: scale, rotation, blur, flip, crop and normalisation, each
// as OpenCV computes it (resize, warpAffine, GaussianBlur), fused so that only the pixels of the crop are
// made. What a pixel is made of stands here, once for all devices.  Multiply-adds are written as std::fma and
// no other product meets a sum, so that compilers have nothing to contract and every device computes the same
// bits.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/labels.h"
#include "kernels/queue.h"

namespace scrawl {

/// RGB of a photo and the class that its label map has there: one load of four bytes brings both.
struct alignas(4) LabelledPixel {
  uint8_t rgb[3] = {0, 0, 0};
  uint8_t label = kUnlabelled;
};

/// Mean and standard deviation of ImageNet's colours (red, green, blue), on the scale 0 … 255.
constexpr float pixel_mean(int colour) {
  return colour == 0 ? 123.675f : colour == 1 ? 116.28f : 103.53f;
}
constexpr float pixel_deviation(int colour) {
  return colour == 0 ? 58.395f : colour == 1 ? 57.12f : 57.375f;
}
constexpr float normalised(float value, int colour) {
  return (value - pixel_mean(colour)) * (1.0f / pixel_deviation(colour));
}

constexpr float mix(float low, float high, float share_of_high) {
  return std::fma(share_of_high, high - low, low);
}

/// The middle one of five neighbours, blurred by OpenCV's weights for 5 points: binomial, sigma about 1.1.
constexpr float blurred(float a, float b, float c, float d, float e) {
  return std::fma(0.375f, c, std::fma(0.25f, b + d, 0.0625f * (a + e)));
}
inline constexpr int kBlurReach = 2;

/// A position beyond an edge, reflected there without repeating the edge: -1 becomes 1.
constexpr int reflected(int i, int size) {
  if (size == 1) return 0;
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}

/// How one crop is made from one sample.  Lies in device memory: a captured step can be replayed with new
/// plans.
struct CropPlan {
  const LabelledPixel* pixels = nullptr;  // [height, width]
  int height = 0, width = 0;
  int scaled_height = 0, scaled_width = 0;
  double inverse_scale = 1.0;
  // The place (x, y) of the rotated image, before rotation and in 1/1024 pixel, is
  // (cosine·x + (−sine·y + shift_x), sine·x + (cosine·y + shift_y)), both parts rounded, as in OpenCV.
  double cosine = 1024.0, sine = 0.0, shift_x = 0.0, shift_y = 0.0;
  int top = 0, left = 0;  // of the crop, in the scaled and flipped image; it may reach beyond the edges
  bool rotated = false, blurred = false, flipped = false;

  struct Position {
    int x, y;
  };
  /// Before rotation, in 2^-bits pixel.
  constexpr Position before_rotation(int x, int y, int bits) const {
    const int shift = 10 - bits, half = 1 << (shift - 1);
    const int across = rounded(cosine * x) + rounded(std::fma(-sine, y, shift_x));
    const int down = rounded(sine * x) + rounded(std::fma(cosine, y, shift_y));
    return {(across + half) >> shift, (down + half) >> shift};
  }

  /// Where a position of a scaled axis reads: between the sample's pixels `low` and `high`.
  struct Tap {
    int low, high;
    float share;  // of `high`
  };
  constexpr Tap bilinear(int position, int size) const {
    const auto at = static_cast<float>(std::fma(position + 0.5, inverse_scale, -0.5));
    const float inside = std::min(std::max(at, 0.0f), static_cast<float>(size - 1));
    const int low = static_cast<int>(inside);
    return {low, std::min(low + 1, size - 1), inside - static_cast<float>(low)};
  }
  constexpr int nearest(int position, int size) const {
    return std::min(static_cast<int>(position * inverse_scale), size - 1);
  }

  /// Of the scaled and rotated image.
  constexpr bool contains(int x, int y) const {
    return x >= 0 && x < scaled_width && y >= 0 && y < scaled_height;
  }
  /// The class at a position of that image.
  constexpr uint8_t label_at(int x, int y) const {
    Position at{x, y};
    if (rotated) at = before_rotation(x, y, 0);
    if (!contains(at.x, at.y)) return kUnlabelled;
    return pixels[int64_t{nearest(at.y, height)} * width + nearest(at.x, width)].label;
  }

 private:
  static constexpr int rounded(double value) { return static_cast<int>(std::lrint(value)); }
};

/// One crop of each plan: image [images, height, width, 3], normalised, the mean (0) where a crop reaches
/// beyond its image; label [images, height, width], unlabelled there.  A crop is
///   normalise(crop(flip(blur(rotate(scale(sample))))))  with the plan's scale, rotation, blur, flip and
///   place.
struct AugmentCrops {
  static constexpr std::string_view name = "augmentation.crops";
  const CropPlan* plans = nullptr;  // [images], in device memory like the pixels that they point to
  int64_t images = 0;
  int height = 0, width = 0;
  DType dtype = DType::f32;  // of the image
  void* image = nullptr;
  uint8_t* label = nullptr;
  /// For scales drawn from U(0.5, 2), of which a crop covers as many pixels as it has in the mean, and half
  /// of the samples rotated and blurred.
  Cost cost() const {
    const int64_t pixels = images * height * width;
    const int64_t scaling = 9, rotation = 4 * scaling + 9, blur = 14, normalisation = 2;
    return {pixels * static_cast<int64_t>(sizeof(LabelledPixel) + 3 * size_of(dtype) + 1),
            3 * pixels * ((scaling + rotation + blur) / 2 + normalisation)};
  }
};

namespace cpu {
void run(const AugmentCrops&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const AugmentCrops&, Queue&);
}  // namespace cuda
namespace simt {
void run(const AugmentCrops&, Queue&);
}  // namespace simt

}  // namespace scrawl
