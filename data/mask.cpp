#include "data/mask.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace scrawl {
namespace {

/// Visits what can be reached from `start`.  `parent` is -1 where nobody has been; what other searches have
/// reached is left alone.
std::vector<int> search(int start, const Mask& mask, bool diagonals, std::vector<int>& parent) {
  static constexpr std::array<std::array<int, 2>, 8> kSteps{
      {{0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}}};
  std::vector<int> order{start};
  parent[start] = start;
  for (size_t head = 0; head < order.size(); ++head) {
    const int here = order[head], y = here / mask.width, x = here % mask.width;
    for (int s = 0; s < (diagonals ? 8 : 4); ++s) {
      const int ny = y + kSteps[s][0], nx = x + kSteps[s][1];
      if (ny < 0 || ny >= mask.height || nx < 0 || nx >= mask.width) continue;
      const int next = ny * mask.width + nx;
      if (!mask.inside[next] || parent[next] >= 0) continue;
      parent[next] = here;
      order.push_back(next);
    }
  }
  return order;
}

/// The pixels in connected pieces, each in search order.
std::vector<std::vector<int>> pieces_of(const Mask& mask) {
  std::vector<std::vector<int>> pieces;
  std::vector<int> parent(mask.inside.size(), -1);
  for (int i = 0; i < static_cast<int>(mask.inside.size()); ++i) {
    if (mask.inside[i] && parent[i] < 0) pieces.push_back(search(i, mask, false, parent));
  }
  return pieces;
}

/// The pixels of a window `width` wide, in the smallest window that holds them.
Mask cropped(const std::vector<int>& pixels, int width) {
  int left = width, right = 0;
  for (const int pixel : pixels) {
    left = std::min(left, pixel % width);
    right = std::max(right, pixel % width);
  }
  const auto [first, last] = std::ranges::minmax(pixels);
  Mask mask{last / width - first / width + 1, right - left + 1, {}, left, first / width};
  mask.inside.resize(static_cast<size_t>(mask.height) * mask.width);
  for (const int pixel : pixels)
    mask.inside[(pixel / width - mask.top) * mask.width + pixel % width - left] = 1;
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

}  // namespace

int64_t Mask::area() const {
  return std::ranges::count_if(inside, [](uint8_t pixel) { return pixel != 0; });
}

std::vector<Mask> components(const LabelMap& map, uint8_t label, int minimum_area) {
  Mask all{map.height, map.width, std::vector<uint8_t>(map.labels.size())};
  for (size_t i = 0; i < map.labels.size(); ++i) all.inside[i] = map.labels[i] == label;
  std::vector<Mask> found;
  for (const auto& piece : pieces_of(all)) {
    if (static_cast<int>(piece.size()) >= minimum_area) found.push_back(cropped(piece, map.width));
  }
  return found;
}

std::vector<float> distance_to_outside(const Mask& mask) {
  // One ring of outside pixels is added, and `far` exceeds any squared distance in the window.
  const int height = mask.height + 2, width = mask.width + 2;
  const float far = static_cast<float>(height) * static_cast<float>(height) +
                    static_cast<float>(width) * static_cast<float>(width);
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

std::vector<int> PixelSearch::path_from(int pixel) const {
  std::vector<int> path{pixel};
  while (parent[path.back()] != path.back()) path.push_back(parent[path.back()]);
  return path;
}

PixelSearch search_from(int start, const Mask& mask, bool diagonals) {
  PixelSearch result{{}, std::vector<int>(mask.inside.size(), -1)};
  result.order = search(start, mask, diagonals, result.parent);
  return result;
}

Mask largest_piece(const Mask& mask) {
  const auto pieces = pieces_of(mask);
  Mask largest{mask.height, mask.width, std::vector<uint8_t>(mask.inside.size()), mask.left, mask.top};
  if (pieces.empty()) return largest;
  for (const int pixel :
       *std::ranges::max_element(pieces, {}, [](const auto& piece) { return piece.size(); }))
    largest.inside[pixel] = 1;
  return largest;
}

}  // namespace scrawl
