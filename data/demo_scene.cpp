#include "data/demo_scene.h"

#include <algorithm>
#include <array>
#include <numbers>

#include "data/demo_shapes.h"
#include "data/demo_texture.h"

namespace scrawl {
namespace {

constexpr float kPi = std::numbers::pi_v<float>;
constexpr uint64_t kSceneStream = 0x5CE4E;  // of the random numbers

constexpr std::array<std::string_view, 7> kNames{"background", "disc", "square", "triangle",
                                                 "star",       "ring", "cross"};

/// What a class looks like more often than not.
struct Leaning {
  ShapeKind shape;
  float hue;
  TextureKind texture;
};

constexpr std::array<Leaning, 6> kLeanings{{{ShapeKind::kDisc, 0.00f, TextureKind::kDots},
                                            {ShapeKind::kSquare, 0.64f, TextureKind::kChecks},
                                            {ShapeKind::kTriangle, 0.31f, TextureKind::kStripes},
                                            {ShapeKind::kStar, 0.14f, TextureKind::kPlain},
                                            {ShapeKind::kRing, 0.48f, TextureKind::kMottled},
                                            {ShapeKind::kCross, 0.83f, TextureKind::kStripes}}};

/// The photo while it is drawn, in floating point, with its labels.
struct Canvas {
  int size;
  std::vector<Colour> colours;
  std::vector<uint8_t> labels;
};

struct Placement {
  Point centre;
  float radius;
};

// Every draw below stands in a statement of its own or in a braced list: the order of a call's arguments is
// up to the compiler, and would be the order of the random numbers.

/// Hardly coloured, coarse, and lower in contrast than the objects: ground they can be told from, mostly.
Texture ground_texture(Random& random) {
  const float hue = random.uniform(), saturation = random.uniform(0.03f, 0.28f);
  const float value = random.uniform(0.3f, 0.75f);
  const float second_hue = hue + 0.06f * random.normal();
  const float second_saturation = saturation * random.uniform(0.5f, 1.3f);
  const float second_value = value * random.uniform(0.7f, 0.9f);
  const bool patterned = random.chance(0.45f);
  return {.kind = patterned ? static_cast<TextureKind>(random.below(kTextureKinds)) : TextureKind::kMottled,
          .first = from_hsv(hue, saturation, value),
          .second = from_hsv(second_hue, second_saturation, second_value),
          .period = random.uniform(10.0f, 34.0f),
          .angle = random.uniform(0.0f, kPi),
          .roughness = random.uniform(0.3f, 1.2f),
          .noise = ValueNoise(random)};
}

Texture object_texture(const Leaning& leaning, Random& random) {
  const bool typical_hue = random.chance(0.9f), typical_texture = random.chance(0.75f);
  const float hue = typical_hue ? leaning.hue + 0.04f * random.normal() : random.uniform();
  const float saturation = random.uniform(0.45f, 0.95f), value = random.uniform(0.55f, 1.0f);
  const bool lighter = random.chance(0.4f);  // the second colour
  const float darker_hue = hue + 0.04f * random.normal(), darker_value = value * random.uniform(0.4f, 0.65f);
  return {.kind = typical_texture ? leaning.texture : static_cast<TextureKind>(random.below(kTextureKinds)),
          .first = from_hsv(hue, saturation, value),
          .second = lighter ? from_hsv(hue, 0.35f * saturation, 0.5f + 0.5f * value)
                            : from_hsv(darker_hue, saturation, darker_value),
          .period = random.uniform(6.0f, 12.0f),
          .angle = random.uniform(0.0f, kPi),
          .roughness = random.uniform(0.0f, 0.6f),
          .noise = ValueNoise(random)};
}

/// Objects may overlap and leave the image, but no centre lies deep inside another object, so that
/// something of each stays in sight.
std::vector<Placement> place_objects(int size, Random& random) {
  constexpr int kTries = 40;
  const auto side = static_cast<float>(size);
  const int wanted = 1 + static_cast<int>(std::max(random.below(4), random.below(4)));
  const float largest = wanted < 3 ? 0.27f : 0.23f;
  std::vector<Placement> placed_so_far;
  for (int attempt = 0; attempt < kTries && static_cast<int>(placed_so_far.size()) < wanted; ++attempt) {
    const Placement next = {{side * random.uniform(0.06f, 0.94f), side * random.uniform(0.06f, 0.94f)},
                            side * random.uniform(0.15f, largest)};
    const bool buried = std::ranges::any_of(placed_so_far, [&](const Placement& other) {
      return length(next.centre - other.centre) < 0.7f * (next.radius + other.radius);
    });
    if (!buried) placed_so_far.push_back(next);
  }
  return placed_so_far;
}

void draw_object(Canvas& canvas, const Shape& shape, const Texture& texture, const Placement& place,
                 uint8_t label) {
  constexpr float kBevel = 3.5f, kShadowDepth = 0.35f, kShadowBlur = 4.0f;
  const Point shadow_offset = {2.0f, 3.0f};
  const float reach = 1.7f * place.radius + 8.0f;  // of shape, stretch and shadow
  const auto first = [&](float at) { return std::max(0, static_cast<int>(at - reach)); };
  const auto last = [&](float at) { return std::min(canvas.size - 1, static_cast<int>(at + reach)); };
  for (int y = first(place.centre.y); y <= last(place.centre.y); ++y) {
    for (int x = first(place.centre.x); x <= last(place.centre.x); ++x) {
      const Point p = {static_cast<float>(x), static_cast<float>(y)};
      Colour& colour = canvas.colours[y * canvas.size + x];
      const float shadow =
          std::clamp(0.5f - signed_distance(shape, p - shadow_offset) / kShadowBlur, 0.0f, 1.0f);
      for (float& channel : colour) channel *= 1.0f - kShadowDepth * shadow;
      const float distance = signed_distance(shape, p);
      const float coverage = std::clamp(0.5f - distance, 0.0f, 1.0f);
      if (coverage == 0.0f) continue;
      Colour paint = texture.at(p - place.centre);
      const float edge = std::clamp(1.0f + distance / kBevel, 0.0f, 1.0f);
      for (float& channel : paint) channel *= 1.0f - 0.3f * edge * edge;
      colour = mix(colour, paint, coverage);
      if (distance < 0.0f) canvas.labels[y * canvas.size + x] = label;
    }
  }
}

/// A light from one side, then what a small sensor adds: coarse and fine noise.
Image photograph(const Canvas& canvas, Random& random) {
  const float direction = random.uniform(0.0f, 2.0f * kPi), slope = random.uniform(0.0f, 0.5f);
  const float exposure = random.uniform(0.85f, 1.1f), grain = random.uniform(0.01f, 0.04f);
  const Point towards = {std::cos(direction), std::sin(direction)};
  Image photo{canvas.size, canvas.size, {}};
  photo.pixels.reserve(3 * canvas.colours.size());
  for (int y = 0; y < canvas.size; ++y) {
    for (int x = 0; x < canvas.size; ++x) {
      const Point from_middle = {static_cast<float>(x) / static_cast<float>(canvas.size) - 0.5f,
                                 static_cast<float>(y) / static_cast<float>(canvas.size) - 0.5f};
      const float light = exposure * (1.0f + slope * dot(from_middle, towards));
      const float luminance_noise = grain * random.normal();
      for (const float channel : canvas.colours[y * canvas.size + x]) {
        const float value = light * channel + luminance_noise + 0.5f * grain * random.normal();
        photo.pixels.push_back(static_cast<uint8_t>(std::lround(255.0f * std::clamp(value, 0.0f, 1.0f))));
      }
    }
  }
  return photo;
}

}  // namespace

std::span<const std::string_view> demo_class_names() {
  return kNames;
}

DemoScene draw_demo_scene(int size, uint64_t seed, uint64_t index) {
  Random random(seed, kSceneStream, index);
  const size_t pixels = static_cast<size_t>(size) * size;
  Canvas canvas{size, std::vector<Colour>(pixels), std::vector<uint8_t>(pixels, 0)};
  const Texture ground = ground_texture(random);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      canvas.colours[y * size + x] = ground.at({static_cast<float>(x), static_cast<float>(y)});
    }
  }
  uint64_t object_class = index % kLeanings.size();
  for (const Placement& place : place_objects(size, random)) {
    const Leaning& leaning = kLeanings[object_class];
    const Shape upright = random_shape(leaning.shape, random);
    const float stretch = random.uniform(0.88f, 1.14f), angle = random.uniform(0.0f, 2.0f * kPi);
    const Shape shape = placed(upright, stretch, angle, place.radius, place.centre);
    const Texture texture = object_texture(leaning, random);
    draw_object(canvas, shape, texture, place, static_cast<uint8_t>(object_class + 1));
    object_class = random.below(kLeanings.size());
  }
  return {photograph(canvas, random), {size, size, std::move(canvas.labels)}};
}

}  // namespace scrawl
