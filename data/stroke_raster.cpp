#include "data/stroke_raster.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/error.h"

namespace scrawl {
namespace {

/// A place in whole steps: of pixels, or of the eighths of pixels in which touching is judged.
struct Cell {
  int x, y;
  bool operator==(const Cell&) const = default;
};

constexpr int kStepBits = 3, kSteps = 1 << kStepBits;  // of a pixel

/// The middle of a pixel in steps, and the pixel of a step.
Cell middle_of(Cell pixel) {
  return {kSteps * pixel.x + kSteps / 2, kSteps * pixel.y + kSteps / 2};
}
int pixel_of(int step) {
  return step >> kStepBits;
}

/// The pixel nearest to a point; those outside the image come to its border, wherever they are.
Cell pixel_of(Point p, const LabelMap& map) {
  const auto clamped = [](float at, int size) {
    return static_cast<int>(std::floor(std::clamp(at, 0.0f, static_cast<float>(size - 1)) + 0.5f));
  };
  return {clamped(p.x, map.width), clamped(p.y, map.height)};
}

/// From the middle of a stroke to its edge, at a right angle to the step from a to b.
Cell offset(Cell a, Cell b, int half) {
  const double dx = b.x - a.x, dy = b.y - a.y, length = std::hypot(dx, dy);
  if (dx == 0) return {half, 0};
  return {static_cast<int>(std::lround(-half * dy / length)),
          static_cast<int>(std::lround(half * dx / length))};
}

void set_rows(LabelMap& map, int x, int first, int last, uint8_t label) {
  if (x < 0 || x >= map.width) return;
  first = std::max(first, 0);
  last = std::min(last, map.height - 1);
  for (int y = first; y <= last; ++y) map.labels[size_t{1} * y * map.width + x] = label;
}

/// Where the edge from a to b (a.x < b.x) is in column x: the nearest step, between two the one nearer to a.
int row_at(Cell a, Cell b, int x) {
  const int64_t run = b.x - a.x, rise = std::abs(b.y - a.y);
  const auto rows = static_cast<int>((2 * rise * (x - a.x) + run - 1) / (2 * run));
  return b.y >= a.y ? a.y + rows : a.y - rows;
}

/// Every pixel that the convex quadrilateral touches, column by column.
void fill_touched(LabelMap& map, const std::array<Cell, 4>& corners, uint8_t label) {
  const auto [left, right] = std::ranges::minmax(corners, {}, &Cell::x);
  for (int x = left.x; x <= right.x; ++x) {
    int first = INT32_MAX, last = INT32_MIN;
    const auto reach = [&](int y) {
      first = std::min(first, y);
      last = std::max(last, y);
    };
    for (size_t i = 0; i < corners.size(); ++i) {
      Cell a = corners[i], b = corners[(i + 1) % corners.size()];
      if (a.x > b.x) std::swap(a, b);
      if (x < a.x || x > b.x) continue;
      if (a.x < b.x) {
        reach(row_at(a, b, x));
      } else {
        reach(a.y);
        reach(b.y);
      }
    }
    set_rows(map, pixel_of(x), pixel_of(first), pixel_of(last), label);
  }
}

void draw_segment(LabelMap& map, Cell a, Cell b, uint8_t label, int half) {
  const auto [x, y] = offset(a, b, half);
  fill_touched(map,
               {middle_of({a.x + x, a.y + y}), middle_of({b.x + x, b.y + y}), middle_of({b.x - x, b.y - y}),
                middle_of({a.x - x, a.y - y})},
               label);
}

/// Sets the pixels of a row whose centres lie from `begin` to before `end`.
void set_between(LabelMap& map, int y, double begin, double end, uint8_t label) {
  const auto column = [&](double at) {
    return static_cast<int>(std::ceil(std::clamp(at, 0.0, 1.0 * map.width)));
  };
  const auto row = map.labels.begin() + size_t{1} * y * map.width;
  if (begin < end) std::fill(row + column(begin), row + column(end), label);
}

}  // namespace

void draw_stroke(LabelMap& map, std::span<const Point> points, uint8_t label, int width) {
  require(width > 0 && width % 2 == 1, "draw_stroke: expected an odd width, got {}", width);
  std::vector<Cell> cells;
  for (const Point p : points) cells.push_back(pixel_of(p, map));
  if (cells.empty()) return;
  const int half = width / 2;
  if (std::ranges::count(cells, cells.front()) == static_cast<int64_t>(cells.size())) {
    const Cell at = cells.front();
    for (int x = at.x - half; x <= at.x + half; ++x) set_rows(map, x, at.y - half, at.y + half, label);
    return;
  }
  for (size_t i = 1; i < cells.size(); ++i) draw_segment(map, cells[i - 1], cells[i], label, half);
}

void fill_polygon(LabelMap& map, std::span<const Point> corners, uint8_t label) {
  std::vector<float> crossings;
  for (int y = 0; y < map.height; ++y) {
    const auto row = static_cast<float>(y);
    crossings.clear();
    for (size_t i = 0; i < corners.size(); ++i) {
      const Point a = corners[i], b = corners[(i + 1) % corners.size()];
      if ((a.y <= row) != (b.y <= row)) crossings.push_back(a.x + (row - a.y) / (b.y - a.y) * (b.x - a.x));
    }
    std::ranges::sort(crossings);
    for (size_t i = 0; i + 1 < crossings.size(); i += 2)
      set_between(map, y, crossings[i], crossings[i + 1], label);
  }
}

void fill_ellipse(LabelMap& map, Point middle, Point end, Point other_end, uint8_t label) {
  const Point a = end - middle, b = other_end - middle;
  const double ax = a.x, ay = a.y, bx = b.x, by = b.y, area = ax * by - ay * bx;
  if (area == 0) return;
  // Inside is middle + s a + t b with s² + t² <= 1, which in each row is a quadratic inequality.
  const double square = ay * ay + by * by;
  for (int y = 0; y < map.height; ++y) {
    const double dy = y - double{middle.y}, centre = dy * (ax * ay + bx * by) / square;
    const double reach = square - dy * dy;
    if (reach < 0) continue;
    const double half = std::abs(area) * std::sqrt(reach) / square;
    set_between(map, y, middle.x + centre - half, middle.x + centre + half, label);
  }
}

}  // namespace scrawl
