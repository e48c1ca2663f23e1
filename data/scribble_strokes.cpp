#include "data/scribble_strokes.h"

#include <algorithm>
#include <array>
#include <limits>

namespace scrawl {
namespace {

/// Breadth-first search over the pixels of a mask.
struct Search {
  std::vector<int> order;   // pixels reached, nearest first
  std::vector<int> parent;  // H,W; -1 = not reached; the start is its own parent
};

Search search_from(int start, const Mask& mask, bool diagonals) {
  static constexpr std::array<std::array<int, 2>, 8> kSteps{
      {{0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}}};
  Search search{{start}, std::vector<int>(mask.inside.size(), -1)};
  search.parent[start] = start;
  for (size_t head = 0; head < search.order.size(); ++head) {
    const int here = search.order[head], y = here / mask.width, x = here % mask.width;
    for (int s = 0; s < (diagonals ? 8 : 4); ++s) {
      const int ny = y + kSteps[s][0], nx = x + kSteps[s][1];
      if (ny < 0 || ny >= mask.height || nx < 0 || nx >= mask.width) continue;
      const int next = ny * mask.width + nx;
      if (!mask.inside[next] || search.parent[next] >= 0) continue;
      search.parent[next] = here;
      search.order.push_back(next);
    }
  }
  return search;
}

/// Pixels in connected pieces, each piece in search order.
std::vector<std::vector<int>> pieces_of(Mask mask) {
  std::vector<std::vector<int>> pieces;
  for (int i = 0; i < static_cast<int>(mask.inside.size()); ++i) {
    if (!mask.inside[i]) continue;
    pieces.push_back(search_from(i, mask, false).order);
    for (const int pixel : pieces.back()) mask.inside[pixel] = 0;
  }
  return pieces;
}

Mask mask_of(const std::vector<int>& pixels, int height, int width) {
  Mask mask{height, width, std::vector<uint8_t>(static_cast<size_t>(height) * width, 0)};
  for (const int pixel : pixels) mask.inside[pixel] = 1;
  return mask;
}

/// Squared distance transform of one line: out[i] = min over j of (i-j)^2 + in[j], as the lower envelope of
/// parabolas (Felzenszwalb and Huttenlocher, 2012).
void transform_line(const std::vector<float>& in, std::vector<float>& out) {
  const int n = static_cast<int>(in.size());
  std::vector<int> roots;     // parabolas of the envelope, left to right
  std::vector<float> starts;  // where each takes over
  for (int j = 0; j < n; ++j) {
    float start = -std::numeric_limits<float>::infinity();
    while (!roots.empty()) {
      const int r = roots.back();
      const float rise = in[j] - in[r] + static_cast<float>(j * j - r * r);
      start = rise / static_cast<float>(2 * (j - r));
      if (start > starts.back()) break;
      roots.pop_back();
      starts.pop_back();
      start = -std::numeric_limits<float>::infinity();
    }
    roots.push_back(j);
    starts.push_back(start);
  }
  size_t k = 0;
  for (int i = 0; i < n; ++i) {
    while (k + 1 < roots.size() && starts[k + 1] < static_cast<float>(i)) ++k;
    const auto apart = static_cast<float>(i - roots[k]);
    out[i] = apart * apart + in[roots[k]];
  }
}

/// How far strokes keep off the outline: grows with the share of the image that the component covers.
float erosion_for(float share, float most) {
  constexpr float kLeast = 2.0f, kSmall = 0.003f, kLarge = 0.15f;
  return kLeast + (most - kLeast) * std::clamp((share - kSmall) / (kLarge - kSmall), 0.0f, 1.0f);
}

/// The largest piece of what is deeper than `erosion`.
std::vector<int> eroded_core(const Mask& component, const std::vector<float>& depth, float erosion) {
  Mask eroded = component;
  for (size_t i = 0; i < depth.size(); ++i) eroded.inside[i] = depth[i] > erosion;
  const auto pieces = pieces_of(eroded);
  return *std::ranges::max_element(pieces, {}, [](const auto& piece) { return piece.size(); });
}

std::vector<int> path_back(const Search& search, int from) {
  std::vector<int> path{from};
  while (search.parent[path.back()] != path.back()) path.push_back(search.parent[path.back()]);
  return path;
}

/// From one far end of the core to the other, through a pixel near its centre of mass.
std::vector<int> spine(const std::vector<int>& core, int height, int width, Random& random) {
  const auto pick = [&] { return core[random.below(core.size())]; };
  Point centre;
  for (const int pixel : core) {
    centre.x += static_cast<float>(pixel % width) / static_cast<float>(core.size());
    centre.y += static_cast<float>(pixel / width) / static_cast<float>(core.size());
  }
  const auto off_centre = [&](int pixel) {
    return length(Point{static_cast<float>(pixel % width), static_cast<float>(pixel / width)} - centre);
  };
  int middle = pick();
  for (int i = 0; i < 4; ++i) {
    const int other = pick();
    if (off_centre(other) < off_centre(middle)) middle = other;
  }
  const Mask mask = mask_of(core, height, width);
  const int first = search_from(pick(), mask, true).order.back();
  const int second = search_from(first, mask, true).order.back();
  const Search around = search_from(middle, mask, true);
  std::vector<int> path = path_back(around, first);
  const std::vector<int> rest = path_back(around, second);
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

Polyline trimmed(const Polyline& curve, float kept) {
  const auto cut = static_cast<int64_t>(0.5f * (1.0f - kept) * static_cast<float>(curve.size()));
  return {curve.begin() + cut, curve.end() - cut};
}

}  // namespace

std::vector<Mask> components(const LabelMap& map, uint8_t label, int minimum_area) {
  Mask all{map.height, map.width, std::vector<uint8_t>(map.labels.size())};
  for (size_t i = 0; i < map.labels.size(); ++i) all.inside[i] = map.labels[i] == label;
  std::vector<Mask> found;
  for (const auto& piece : pieces_of(std::move(all))) {
    if (static_cast<int>(piece.size()) >= minimum_area)
      found.push_back(mask_of(piece, map.height, map.width));
  }
  return found;
}

std::vector<float> distance_to_outside(const Mask& mask) {
  // One ring of outside pixels is added, and `far` exceeds any squared distance in the image.
  const int height = mask.height + 2, width = mask.width + 2;
  const auto far = static_cast<float>(height * height + width * width);
  std::vector<float> squared(static_cast<size_t>(height) * width, 0.0f);
  for (int y = 0; y < mask.height; ++y) {
    for (int x = 0; x < mask.width; ++x) {
      if (mask.inside[y * mask.width + x]) squared[(y + 1) * width + x + 1] = far;
    }
  }
  std::vector<float> line(height), transformed(height);
  for (int x = 0; x < width; ++x) {
    for (int y = 0; y < height; ++y) line[y] = squared[y * width + x];
    transform_line(line, transformed);
    for (int y = 0; y < height; ++y) squared[y * width + x] = transformed[y];
  }
  std::vector<float> distance(mask.inside.size());
  line.resize(width), transformed.resize(width);
  for (int y = 1; y + 1 < height; ++y) {
    std::copy_n(squared.begin() + y * width, width, line.begin());
    transform_line(line, transformed);
    for (int x = 0; x < mask.width; ++x) distance[(y - 1) * mask.width + x] = std::sqrt(transformed[x + 1]);
  }
  return distance;
}

Polyline stroke_within(const Mask& component, const StrokeStyle& style, Random& random) {
  const auto area = std::ranges::count_if(component.inside, [](uint8_t inside) { return inside != 0; });
  if (area == 0) return {};
  const std::vector<float> depth = distance_to_outside(component);
  const float deepest = *std::ranges::max_element(depth);
  const float share = static_cast<float>(area) / static_cast<float>(component.inside.size());
  const float erosion = std::min(erosion_for(share, style.most_erosion), 0.5f * deepest);
  const std::vector<int> path =
      spine(eroded_core(component, depth, erosion), component.height, component.width, random);

  const auto depth_at = [&](Point p) {
    const int x = static_cast<int>(std::lround(p.x)), y = static_cast<int>(std::lround(p.y));
    const bool within = x >= 0 && x < component.width && y >= 0 && y < component.height;
    return within ? depth[y * component.width + x] : 0.0f;
  };
  const float margin = std::min(2.0f, erosion);  // a line three pixels wide does not touch the outline
  for (int attempt = 0; attempt < style.tries; ++attempt) {
    // A few evenly spaced points carry the curve: too few to keep the pixel steps.  Every try takes more of
    // them and moves them less, so that where the way is narrow the curve follows the spine.
    const size_t steps = path.size() - 1, knots = std::clamp<size_t>(steps / 10, 2, 7 + attempt);
    const float spacing = static_cast<float>(steps) / static_cast<float>(knots);
    const float wobble =
        style.wobble * static_cast<float>(style.tries - attempt) / static_cast<float>(style.tries);
    Polyline through;
    for (size_t i = 0; i <= knots; ++i) {
      const int knot = path[i * steps / knots];
      const float reach = wobble * std::min(depth[knot], spacing);
      through.push_back({static_cast<float>(knot % component.width) + reach * random.normal(),
                         static_cast<float>(knot / component.width) + reach * random.normal()});
    }
    const Polyline curve = trimmed(smooth_curve(through), style.kept);
    if (std::ranges::all_of(curve, [&](Point p) { return depth_at(p) > margin; })) return curve;
  }
  Polyline along_spine;
  for (const int pixel : path) {
    along_spine.push_back(
        {static_cast<float>(pixel % component.width), static_cast<float>(pixel / component.width)});
  }
  return trimmed(along_spine, style.kept);
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
