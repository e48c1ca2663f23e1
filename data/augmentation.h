#pragma once
// The published augmentation (scale, rotation, blur, flip, crop).  What happens to a sample is first drawn as
// a plan, on the processor; carrying it out is a kernel's work, on any device: see kernels/augmentation.h.
#include <optional>

#include "engine/random.h"
#include "kernels/augmentation.h"

namespace scrawl {

/// Side of a resized image: OpenCV rounds half to even.  At least 1.
int scaled_size(int size, double scale);

/// Where a crop begins in its image; it may reach beyond the edges.
struct Corner {
  int top = 0, left = 0;
};

/// Of the middle crop_height × crop_width of an image; where that is larger than the image, the image sits in
/// its middle (the odd row or column of padding goes after it).
Corner center_corner(int height, int width, int crop_height, int crop_width);

/// Everything that chance decides about one sample.
struct AugmentationPlan {
  float scale = 1;               // as fx = fy of cv::resize
  std::optional<float> degrees;  // of a rotation about the centre, counter-clockwise
  bool blur = false, flip = false;
  Corner corner;  // of the crop, in the scaled image
};

/// Draws a plan for an image of height × width: scale U(0.5, 2), rotation U(-10, 10) degrees, blur and flip
/// with probability 1/2 each, a crop anywhere inside (centred on an axis where the image is too small).
AugmentationPlan draw_augmentation(Random& random, int height, int width, int crop_height, int crop_width);

/// The plan in the kernel's terms, for a sample of `pixels` [height, width] in the memory of the kernel's
/// device.
CropPlan crop_plan(const AugmentationPlan& plan, const LabelledPixel* pixels, int height, int width);

}  // namespace scrawl
