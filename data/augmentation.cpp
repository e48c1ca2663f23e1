#include "data/augmentation.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace scrawl {

int scaled_size(int size, double scale) {
  return std::max(1, static_cast<int>(std::lrint(size * scale)));
}

Corner center_corner(int height, int width, int crop_height, int crop_width) {
  // Towards zero in both cases: of an odd padding, and of an odd remainder, the smaller half comes first.
  return {(height - crop_height) / 2, (width - crop_width) / 2};
}

AugmentationPlan draw_augmentation(Random& random, int height, int width, int crop_height, int crop_width) {
  AugmentationPlan plan;
  plan.scale = random.uniform(0.5f, 2.0f);
  // The angle is drawn even if unused, so that each choice has its place in the random stream.
  const bool rotated = random.chance(0.5f);
  const float degrees = random.uniform(-10.0f, 10.0f);
  if (rotated) plan.degrees = degrees;
  plan.blur = random.chance(0.5f);
  plan.flip = random.chance(0.5f);
  const int scaled_height = scaled_size(height, plan.scale), scaled_width = scaled_size(width, plan.scale);
  plan.corner = center_corner(scaled_height, scaled_width, crop_height, crop_width);
  const uint64_t down = std::max(scaled_height - crop_height, 0) + 1;
  const uint64_t across = std::max(scaled_width - crop_width, 0) + 1;
  const int top = static_cast<int>(random.below(down)), left = static_cast<int>(random.below(across));
  if (down > 1) plan.corner.top = top;
  if (across > 1) plan.corner.left = left;
  return plan;
}

CropPlan crop_plan(const AugmentationPlan& plan, const LabelledPixel* pixels, int height, int width) {
  CropPlan crop{.pixels = pixels,
                .height = height,
                .width = width,
                .scaled_height = scaled_size(height, plan.scale),
                .scaled_width = scaled_size(width, plan.scale),
                .inverse_scale = 1.0 / plan.scale,
                .top = plan.corner.top,
                .left = plan.corner.left,
                .rotated = plan.degrees.has_value(),
                .blurred = plan.blur,
                .flipped = plan.flip};
  if (plan.degrees) {
    const double angle = *plan.degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
    const double cx = crop.scaled_width / 2.0, cy = crop.scaled_height / 2.0;
    constexpr double kUnits = 1024;  // a pixel
    crop.cosine = kUnits * c;
    crop.sine = kUnits * s;
    crop.shift_x = kUnits * (cx - c * cx + s * cy);
    crop.shift_y = kUnits * (cy - s * cx - c * cy);
  }
  return crop;
}

}  // namespace scrawl
