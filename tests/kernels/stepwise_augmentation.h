#pragma once
// The augmentation in double precision, one step after the other over whole images: what the fused kernels
// are held to.  Coordinates are rounded where OpenCV rounds them.
#include <cmath>
#include <numbers>
#include <vector>

#include "data/augmentation.h"

namespace scrawl::stepwise {

/// H,W,channels.
template <typename T, int channels>
struct Map {
  int height = 0, width = 0;
  std::vector<T> values = {};

  Map(int h, int w) : height(h), width(w), values(size_t{channels} * h * w) {}
  bool contains(int y, int x) const { return x >= 0 && x < width && y >= 0 && y < height; }
  T& at(int y, int x, int c = 0) { return values[(size_t{1} * y * width + x) * channels + c]; }
  T at(int y, int x, int c = 0) const { return values[(size_t{1} * y * width + x) * channels + c]; }
};
using Photo = Map<double, 3>;
using Labels = Map<uint8_t, 1>;

/// value(y, x, channel) for all.
template <typename M, typename Value>
M filled(int height, int width, int channels, Value value) {
  M out(height, width);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c) out.at(y, x, c) = value(y, x, c);
  return out;
}
inline double or_mean(const Photo& photo, int y, int x, int c) {
  return photo.contains(y, x) ? photo.at(y, x, c) : pixel_mean(c);
}
inline uint8_t or_unlabelled(const Labels& labels, int y, int x) {
  return labels.contains(y, x) ? labels.at(y, x) : kUnlabelled;
}

inline Photo scale(const Photo& photo, double s) {
  const auto source = [&](int i, int size) {
    return std::min(std::max<double>(static_cast<float>((i + 0.5) / s - 0.5), 0), size - 1.0);
  };
  return filled<Photo>(
      scaled_size(photo.height, s), scaled_size(photo.width, s), 3, [&](int y, int x, int c) {
        const double row = source(y, photo.height), column = source(x, photo.width);
        const int top = static_cast<int>(row), left = static_cast<int>(column);
        const int bottom = std::min(top + 1, photo.height - 1), right = std::min(left + 1, photo.width - 1);
        const double upper = std::lerp(photo.at(top, left, c), photo.at(top, right, c), column - left);
        const double lower = std::lerp(photo.at(bottom, left, c), photo.at(bottom, right, c), column - left);
        return std::lerp(upper, lower, row - top);
      });
}
inline Labels scale(const Labels& labels, double s) {
  const auto source = [&](int i, int size) { return std::min(static_cast<int>(i * (1 / s)), size - 1); };
  return filled<Labels>(
      scaled_size(labels.height, s), scaled_size(labels.width, s), 1,
      [&](int y, int x, int) { return labels.at(source(y, labels.height), source(x, labels.width)); });
}

/// Before a rotation about the centre, in 1/1024 pixel.
struct Place {
  int x, y;
};
inline Place before_rotation(int height, int width, double degrees, int x, int y) {
  const double angle = degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
  const double cx = width / 2.0, cy = height / 2.0;
  const auto fixed = [](double value) { return static_cast<int>(std::lrint(1024 * value)); };
  return {fixed(c * x) + fixed(-s * y + cx - c * cx + s * cy),
          fixed(s * x) + fixed(c * y + cy - s * cx - c * cy)};
}
inline Photo rotate(const Photo& photo, double degrees) {
  return filled<Photo>(photo.height, photo.width, 3, [&](int y, int x, int c) {
    const Place at = before_rotation(photo.height, photo.width, degrees, x, y);
    const int row = (at.y + 16) >> 5, column = (at.x + 16) >> 5, top = row >> 5, left = column >> 5;
    const auto between = [&](int i) {
      return std::lerp(or_mean(photo, i, left, c), or_mean(photo, i, left + 1, c), (column & 31) / 32.0);
    };
    return std::lerp(between(top), between(top + 1), (row & 31) / 32.0);
  });
}
inline Labels rotate(const Labels& labels, double degrees) {
  return filled<Labels>(labels.height, labels.width, 1, [&](int y, int x, int) {
    const Place at = before_rotation(labels.height, labels.width, degrees, x, y);
    return or_unlabelled(labels, (at.y + 512) >> 10, (at.x + 512) >> 10);
  });
}

inline Photo blur(const Photo& photo) {
  constexpr double kWeights[] = {0.0625, 0.25, 0.375, 0.25, 0.0625};
  const auto mirrored = [](int i, int size) {
    if (size == 1) return 0;
    const int period = 2 * (size - 1), phase = ((i % period) + period) % period;
    return std::min(phase, period - phase);
  };
  return filled<Photo>(photo.height, photo.width, 3, [&](int y, int x, int c) {
    double sum = 0;
    for (int dy = -2; dy <= 2; ++dy)
      for (int dx = -2; dx <= 2; ++dx)
        sum += kWeights[dy + 2] * kWeights[dx + 2] *
               photo.at(mirrored(y + dy, photo.height), mirrored(x + dx, photo.width), c);
    return sum;
  });
}

/// A sample after all of a plan, normalised.
struct Crop {
  Photo photo;
  Labels labels;
};
inline Crop augment(const AugmentationPlan& plan, Photo photo, Labels labels, int height, int width) {
  photo = scale(photo, plan.scale);
  labels = scale(labels, plan.scale);
  if (plan.degrees) {
    photo = rotate(photo, *plan.degrees);
    labels = rotate(labels, *plan.degrees);
  }
  if (plan.blur) photo = blur(photo);
  const auto column = [&](int x) {
    return plan.flip ? photo.width - 1 - (plan.corner.left + x) : plan.corner.left + x;
  };
  return {filled<Photo>(height, width, 3,
                        [&](int y, int x, int c) {
                          return (or_mean(photo, plan.corner.top + y, column(x), c) - pixel_mean(c)) /
                                 pixel_deviation(c);
                        }),
          filled<Labels>(height, width, 1, [&](int y, int x, int) {
            return or_unlabelled(labels, plan.corner.top + y, column(x));
          })};
}

}  // namespace scrawl::stepwise
