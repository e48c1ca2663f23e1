#pragma once
// The published augmentation (scale, rotation, blur, flip, crop), each step as OpenCV computes it, so that
// training sees the pixels that it saw there.  What happens to a sample is first drawn as a plan, then done:
// another device can do the same from the same plan.
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/image.h"
#include "data/label_map.h"
#include "engine/random.h"

namespace scrawl {

/// Of ImageNet, in RGB order and on the scale 0 … 255.
inline constexpr std::array<float, 3> kPixelMean{123.675f, 116.28f, 103.53f};
inline constexpr std::array<float, 3> kPixelStd{58.395f, 57.12f, 57.375f};

/// H,W,3 RGB on the scale 0 … 255.
struct FloatImage {
  int height = 0, width = 0;
  std::vector<float> pixels;
};

FloatImage to_float(const Image& image);

/// Side of a resized image: OpenCV rounds half to even.  At least 1.
int scaled_size(int size, double scale);

/// cv::resize with fx = fy = scale: pixel centres are aligned, and the step between source pixels is 1/scale
/// even where rounding makes the output a little larger or smaller.
FloatImage resize_bilinear(const FloatImage& image, double scale);
LabelMap resize_nearest(const LabelMap& map, double scale);

/// cv::warpAffine about (width/2, height/2), counter-clockwise for positive angles.  Uncovered pixels become
/// the mean and unlabelled.  Source positions are rounded to 1/32 pixel, as there.
FloatImage rotate(const FloatImage& image, double degrees);
LabelMap rotate(const LabelMap& map, double degrees);

/// cv::GaussianBlur with a 5×5 kernel, sigma 1.1, borders reflected without repeating the edge.
FloatImage blur(const FloatImage& image);

FloatImage flip(const FloatImage& image);
LabelMap flip(const LabelMap& map);

/// A rectangle of an image; it may reach beyond the edges, where crop() fills in mean and unlabelled.
struct Window {
  int top = 0, left = 0, height = 0, width = 0;
};
FloatImage crop(const FloatImage& image, Window window);
LabelMap crop(const LabelMap& map, Window window);

/// The middle crop_height × crop_width of an image; where that is larger than the image, the image sits in
/// its middle (the odd row or column of padding goes after it).
Window center_window(int height, int width, int crop_height, int crop_width);

/// (x - mean) / std into `out`, H,W,3.
void normalise(const FloatImage& image, float* out);

/// Everything that chance decides about one sample.
struct AugmentationPlan {
  float scale = 1;
  std::optional<float> degrees;  // rotation, if any
  bool blur = false, flip = false;
  Window window;  // of the scaled image
};

/// Draws a plan for an image of height × width: scale U(0.5, 2), rotation U(-10, 10) degrees, blur and flip
/// with probability 1/2 each, a crop anywhere inside (centred on an axis where the image is too small).
AugmentationPlan draw_augmentation(Random& random, int height, int width, int crop_height, int crop_width);

/// Carries out a plan on image and label, in the published order.
void augment(const AugmentationPlan& plan, FloatImage& image, LabelMap& label);

}  // namespace scrawl
