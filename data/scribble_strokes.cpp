#include "data/scribble_strokes.h"

#include <algorithm>

namespace scrawl {
namespace {

/// The component with the depth of its pixels, in coordinates of its window.
struct Ground {
  explicit Ground(const Mask& component) : mask(component), depth(distance_to_outside(component)) {}

  Point point(int pixel) const {
    return {static_cast<float>(pixel % mask.width), static_cast<float>(pixel / mask.width)};
  }

  float depth_at(Point p) const {
    const int x = static_cast<int>(std::lround(p.x)), y = static_cast<int>(std::lround(p.y));
    return x >= 0 && x < mask.width && y >= 0 && y < mask.height ? depth[y * mask.width + x] : 0.0f;
  }

  /// The largest piece of what is deeper than `erosion`.
  Mask core(float erosion) const {
    Mask eroded = mask;
    for (size_t i = 0; i < depth.size(); ++i) eroded.inside[i] = depth[i] > erosion;
    return largest_piece(eroded);
  }

  /// The pixel after `steps` steps away from the outline, as long as it gets deeper.  At the window's border
  /// nothing is deeper than 1, so that no step leads from the end of a row into another.
  int inwards(int pixel, int steps) const {
    for (; steps > 0; --steps) {
      int deepest = pixel;
      for (const int next : {pixel - mask.width, pixel - 1, pixel + 1, pixel + mask.width}) {
        const bool within = next >= 0 && next < static_cast<int>(depth.size());
        if (within && depth[next] > depth[deepest]) deepest = next;
      }
      if (deepest == pixel) break;
      pixel = deepest;
    }
    return pixel;
  }

  const Mask& mask;
  std::vector<float> depth;
};

/// `erosion`, or as much of it as leaves a tenth of the component in one piece: what is thin all along would
/// shrink to its thickest spot.
float bearable_erosion(const Ground& ground, float erosion) {
  const int64_t least = ground.mask.area() / 10;
  while (erosion >= 1.0f && ground.core(erosion).area() < least) erosion *= 0.7f;
  return erosion;
}

/// From one far end of the core to the other, by way of a pixel near its centre of mass.
std::vector<int> spine(const Ground& ground, const Mask& core, Random& random) {
  std::vector<int> pixels;
  Point centre;
  for (int i = 0; i < static_cast<int>(core.inside.size()); ++i) {
    if (!core.inside[i]) continue;
    pixels.push_back(i);
    centre = centre + ground.point(i);
  }
  centre = (1.0f / static_cast<float>(pixels.size())) * centre;
  const auto pick = [&] { return pixels[random.below(pixels.size())]; };
  int middle = pick();
  for (int i = 0; i < 4; ++i) {
    const int other = pick();
    if (length(ground.point(other) - centre) < length(ground.point(middle) - centre)) middle = other;
  }
  // Nobody aims at the very farthest pixel.
  const auto far_from = [&](int pixel) {
    const std::vector<int> order = search_from(pixel, core, true).order;
    return order[order.size() - 1 - random.below(order.size() / 12 + 1)];
  };
  const int first = far_from(pick()), second = far_from(first);
  const PixelSearch around = search_from(middle, core, true);
  std::vector<int> path = around.path_from(first), rest = around.path_from(second);
  // A middle off the way between the ends would be a spur, drawn to and fro.
  while (path.size() > 1 && rest.size() > 1 && path[path.size() - 2] == rest[rest.size() - 2]) {
    path.pop_back();
    rest.pop_back();
  }
  path.insert(path.end(), rest.rbegin() + 1, rest.rend());
  return path;
}

/// Catmull-Rom curve through the points, about one pixel between samples.
Polyline smooth_curve(const Polyline& through) {
  Polyline curve;
  const int last = static_cast<int>(through.size()) - 1;
  for (int i = 0; i < last; ++i) {
    const Point a = through[std::max(i - 1, 0)], b = through[i], c = through[i + 1],
                d = through[std::min(i + 2, last)];
    const int steps = std::max(1, static_cast<int>(length(c - b)));
    for (int s = 0; s < steps; ++s) {
      const float t = static_cast<float>(s) / static_cast<float>(steps), u = 1.0f - t;
      curve.push_back(-0.5f * t * u * u * a + (1.0f + t * t * (1.5f * t - 2.5f)) * b +
                      (1.0f + u * u * (1.5f * u - 2.5f)) * c + -0.5f * t * t * u * d);
    }
  }
  curve.push_back(through.back());
  return curve;
}

/// The mean of each point with up to `reach` neighbours on either side, fewer near the ends, which stay: a
/// hand rounds what it was to pass by.
Polyline rounded(const Polyline& curve, size_t reach) {
  Polyline sums{{}};  // of all points before
  for (const Point p : curve) sums.push_back(sums.back() + p);
  Polyline result;
  for (size_t i = 0; i < curve.size(); ++i) {
    const size_t near = std::min({reach, i, curve.size() - 1 - i});
    result.push_back((1.0f / static_cast<float>(2 * near + 1)) * (sums[i + near + 1] - sums[i - near]));
  }
  return result;
}

/// A curve along the spine, by way of a few of its pixels, which stray.  Each attempt takes more of them and
/// lets them stray less, so that where the way is narrow the curve comes to follow its middle.
Polyline curve_along(const std::vector<int>& path, const Ground& ground, float erosion,
                     const StrokeStyle& style, int attempt, Random& random) {
  float depth = 0;
  for (const int pixel : path) depth += ground.depth[pixel] / static_cast<float>(path.size());
  const size_t steps = path.size() - 1;
  const size_t bends = static_cast<size_t>(static_cast<float>(steps) / (3.0f * depth)) + attempt / 3;
  const size_t knots = std::clamp<size_t>(bends, 2, std::max<size_t>(2, steps / 5));
  const float spacing = static_cast<float>(steps) / static_cast<float>(knots);
  const float calm = static_cast<float>(style.tries - attempt) / static_cast<float>(style.tries);
  Polyline through;
  for (size_t i = 0; i <= knots; ++i) {
    const int on_path = path[i * steps / knots];
    const float towards_middle = random.uniform(1.0f - calm, 1.0f) * (1.5f + ground.depth[on_path]);
    const int inner = ground.inwards(on_path, static_cast<int>(towards_middle));
    const float reach = calm * style.wobble * std::min(ground.depth[inner] - erosion, spacing);
    through.push_back(ground.point(inner) + Point{reach * random.normal(), reach * random.normal()});
  }
  const auto rounding = static_cast<size_t>(0.35f * calm * spacing);
  return shortened(rounded(rounded(smooth_curve(through), rounding), rounding), style.kept);
}

}  // namespace

float erosion_for(double share, float most) {
  constexpr float kLeast = 2.0f, kSmall = 0.003f, kLarge = 0.15f;
  return kLeast +
         (most - kLeast) * std::clamp((static_cast<float>(share) - kSmall) / (kLarge - kSmall), 0.0f, 1.0f);
}

Polyline stroke_within(const Mask& component, const StrokeStyle& style, Random& random) {
  const Ground ground(component);
  const auto deepest = std::ranges::max_element(ground.depth);
  if (deepest == ground.depth.end() || *deepest == 0.0f) return {};
  Polyline stroke;
  float erosion = bearable_erosion(ground, std::min(style.erosion, 0.4f * *deepest));
  for (; stroke.empty() && erosion < *deepest; erosion += std::max(0.5f, 0.25f * erosion)) {
    const std::vector<int> path = spine(ground, ground.core(erosion), random);
    for (int attempt = 0; stroke.empty() && attempt < style.tries; ++attempt) {
      Polyline curve = curve_along(path, ground, erosion, style, attempt, random);
      const auto inside = [&](Point p) { return ground.depth_at(p) > erosion; };
      if (std::ranges::all_of(curve, inside)) stroke = std::move(curve);
    }
  }
  if (stroke.empty()) stroke = {ground.point(static_cast<int>(deepest - ground.depth.begin()))};
  const Point corner{static_cast<float>(component.left), static_cast<float>(component.top)};
  for (Point& p : stroke) p = p + corner;
  return stroke;
}

Polyline shortened(const Polyline& stroke, float share) {
  if (stroke.empty()) return {};
  std::vector<float> way{0.0f};  // to each point, along the stroke
  for (size_t i = 1; i < stroke.size(); ++i) way.push_back(way.back() + length(stroke[i] - stroke[i - 1]));
  const auto at = [&](float distance) {
    const size_t next = std::ranges::upper_bound(way, distance) - way.begin();
    if (next == way.size()) return stroke.back();
    const float t = (distance - way[next - 1]) / (way[next] - way[next - 1]);
    return stroke[next - 1] + t * (stroke[next] - stroke[next - 1]);
  };
  const float first = 0.5f * (1.0f - share) * way.back(), last = 0.5f * (1.0f + share) * way.back();
  Polyline rest{at(first)};
  for (size_t i = 0; i < stroke.size(); ++i) {
    if (way[i] > first && way[i] < last) rest.push_back(stroke[i]);
  }
  if (last > first) rest.push_back(at(last));
  return rest;
}

void draw_polyline(LabelMap& map, const Polyline& line, uint8_t label, float width) {
  const float radius = 0.5f * width;
  const auto pixel = [](float at, int size) { return std::clamp(static_cast<int>(std::floor(at)), 0, size); };
  for (size_t i = 0; i < line.size(); ++i) {
    const Point a = line[i], b = line[std::min(i + 1, line.size() - 1)];
    const int x0 = pixel(std::min(a.x, b.x) - radius, map.width);
    const int x1 = pixel(std::max(a.x, b.x) + radius + 1, map.width);
    const int y0 = pixel(std::min(a.y, b.y) - radius, map.height);
    const int y1 = pixel(std::max(a.y, b.y) + radius + 1, map.height);
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) {
        const Point p = {static_cast<float>(x), static_cast<float>(y)};
        if (distance_to_segment(p, a, b) <= radius) map.labels[y * map.width + x] = label;
      }
    }
  }
}

}  // namespace scrawl
