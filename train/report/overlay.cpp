#include "train/report/overlay.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace scrawl {

Image colourise(const LabelMap& map, const Palette& palette) {
  Image image{map.height, map.width, {}};
  image.pixels.reserve(map.labels.size() * 3);
  for (const uint8_t label : map.labels) {
    image.pixels.insert(image.pixels.end(), palette[label].begin(), palette[label].end());
  }
  return image;
}

Image overlay(const Image& photo, const LabelMap& map, const Palette& palette, float opacity) {
  require(photo.height == map.height && photo.width == map.width,
          "overlay: the photo is {}x{}, the label map {}x{} (width x height)", photo.width, photo.height,
          map.width, map.height);
  Image image = photo;
  const auto label_at = [&](int y, int x) {
    return map
        .labels[std::min(y, map.height - 1) * static_cast<int64_t>(map.width) + std::min(x, map.width - 1)];
  };
  for (int y = 0; y < map.height; ++y) {
    for (int x = 0; x < map.width; ++x) {
      const uint8_t label = label_at(y, x);
      const bool edge = label != label_at(y, x + 1) || label != label_at(y + 1, x);
      if (label == kUnlabelled && !edge) continue;
      uint8_t* pixel = &image.pixels[3 * (static_cast<size_t>(y) * map.width + x)];
      for (int c = 0; c < 3; ++c) {
        const float target = edge ? 255.0f : palette[label][c], share = edge ? 0.85f : opacity;
        pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + share * (target - pixel[c])));
      }
    }
  }
  return image;
}

Image strokes_over(const Image& photo, const LabelMap& scribble, const Palette& palette, float radius) {
  Image image = photo;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    uint8_t* pixel = &image.pixels[i];
    const float gray = 0.3f * pixel[0] + 0.59f * pixel[1] + 0.11f * pixel[2];
    std::fill_n(pixel, 3, static_cast<uint8_t>(0.5f * gray + 115.0f));
  }
  const float down = static_cast<float>(photo.height) / static_cast<float>(scribble.height);
  const float across = static_cast<float>(photo.width) / static_cast<float>(scribble.width);
  for (int row = 0; row < scribble.height; ++row) {
    for (int column = 0; column < scribble.width; ++column) {
      const uint8_t label = scribble.labels[static_cast<size_t>(row) * scribble.width + column];
      if (label == kUnlabelled) continue;
      const float cy = (static_cast<float>(row) + 0.5f) * down - 0.5f;
      const float cx = (static_cast<float>(column) + 0.5f) * across - 0.5f;
      const int y1 = std::min(photo.height - 1, static_cast<int>(cy + radius));
      const int x1 = std::min(photo.width - 1, static_cast<int>(cx + radius));
      for (int y = std::max(0, static_cast<int>(std::ceil(cy - radius))); y <= y1; ++y) {
        for (int x = std::max(0, static_cast<int>(std::ceil(cx - radius))); x <= x1; ++x) {
          if (std::hypot(static_cast<float>(y) - cy, static_cast<float>(x) - cx) > radius) continue;
          std::ranges::copy(palette[label], &image.pixels[3 * (static_cast<size_t>(y) * photo.width + x)]);
        }
      }
    }
  }
  return image;
}

}  // namespace scrawl
