#include "data/demo_texture.h"

#include <algorithm>

namespace scrawl {
namespace {

/// 0 to 1 about zero, over a width that hides the pixel grid.
float soft_step(float x, float width) {
  return std::clamp(0.5f + x / width, 0.0f, 1.0f);
}

/// A wave of period one and range -1 to 1.
float wave(float x) {
  return 4.0f * std::fabs(x - std::floor(x + 0.5f)) - 1.0f;
}

}  // namespace

Colour from_hsv(float hue, float saturation, float value) {
  const auto channel = [&](float shift) {
    const float h = hue + shift;
    const float ramp = std::clamp(std::fabs(6.0f * (h - std::floor(h)) - 3.0f) - 1.0f, 0.0f, 1.0f);
    return value * (1.0f - saturation + saturation * ramp);
  };
  return {channel(0.0f), channel(2.0f / 3.0f), channel(1.0f / 3.0f)};
}

Colour mix(const Colour& a, const Colour& b, float share_of_b) {
  Colour mixed;
  for (int i = 0; i < 3; ++i) mixed[i] = a[i] + share_of_b * (b[i] - a[i]);
  return mixed;
}

ValueNoise::ValueNoise(Random& random) {
  for (float& value : lattice_) value = random.uniform();
}

float ValueNoise::octave(Point p) const {
  const float column = std::floor(p.x), row = std::floor(p.y);
  const auto eased = [](float t) { return t * t * (3.0f - 2.0f * t); };
  const float u = eased(p.x - column), v = eased(p.y - row);
  const int x0 = static_cast<int>(column) & (kSide - 1), x1 = (x0 + 1) & (kSide - 1);
  const int y0 = static_cast<int>(row) & (kSide - 1), y1 = (y0 + 1) & (kSide - 1);
  const auto value = [&](int y, int x) { return lattice_[y * kSide + x]; };
  const float top = value(y0, x0) + u * (value(y0, x1) - value(y0, x0));
  const float bottom = value(y1, x0) + u * (value(y1, x1) - value(y1, x0));
  return top + v * (bottom - top);
}

float ValueNoise::at(Point p) const {
  // Offsets keep the octaves from reading the same lattice values at the same place.
  return (4.0f * octave(p) + 2.0f * octave(2.0f * p + Point{7.3f, 11.1f}) +
          octave(4.0f * p + Point{19.7f, 3.9f})) /
         7.0f;
}

Colour Texture::at(Point p) const {
  const float stain = noise.at((1.0f / 14.0f) * p) - 0.5f;
  const float bend = roughness * stain;
  const float c = std::cos(angle), s = std::sin(angle);
  const float u = (c * p.x + s * p.y) / period + bend, v = (c * p.y - s * p.x) / period + bend;
  const float softness = 6.0f / period;  // an edge is about a pixel and a half wide
  float share = 0.0f;
  switch (kind) {
    case TextureKind::kPlain:
      break;
    case TextureKind::kStripes:
      share = soft_step(wave(u), softness);
      break;
    case TextureKind::kChecks:
      share = soft_step(wave(u) * wave(v), 1.5f * softness);
      break;
    case TextureKind::kDots: {
      const Point from_dot = {u - std::floor(u) - 0.5f, v - std::floor(v) - 0.5f};
      share = soft_step(0.3f - length(from_dot), 0.3f * softness);
      break;
    }
    case TextureKind::kMottled:
      share = std::clamp(0.5f + 2.5f * (noise.at((1.0f / period) * p) - 0.5f), 0.0f, 1.0f);
      break;
  }
  Colour colour = mix(first, second, share);
  for (float& channel : colour) channel *= 1.0f + 0.6f * bend;
  return colour;
}

}  // namespace scrawl
