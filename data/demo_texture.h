#pragma once
#include <array>

#include "data/point.h"
#include "engine/random.h"

namespace scrawl {

using Colour = std::array<float, 3>;  // red, green, blue in [0, 1]

/// Hue is cyclic with period one.
Colour from_hsv(float hue, float saturation, float value);
Colour mix(const Colour& a, const Colour& b, float share_of_b);

/// Smooth random field over the plane with values in [0, 1]: random numbers on a lattice, interpolated,
/// summed over three octaves.  Repeats after 32 lattice cells.
class ValueNoise {
 public:
  explicit ValueNoise(Random& random);
  float at(Point p) const;

 private:
  static constexpr int kSide = 32;
  std::array<float, kSide * kSide> lattice_;
  float octave(Point p) const;
};

enum class TextureKind { kPlain, kStripes, kChecks, kDots, kMottled };
constexpr int kTextureKinds = 5;

/// Two colours and the pattern that mixes them.
struct Texture {
  TextureKind kind;
  Colour first, second;
  float period;     // of the pattern, in pixels
  float angle;      // of the pattern, in radians
  float roughness;  // 0 = clean; how far noise bends the pattern and stains the colours
  ValueNoise noise;

  Colour at(Point p) const;
};

}  // namespace scrawl
