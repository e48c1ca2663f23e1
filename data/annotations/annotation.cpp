#include "data/annotations/annotation.h"

#include <algorithm>
#include <filesystem>
#include <numbers>

#include "engine/error.h"

namespace scrawl {

Polyline ellipse(Point centre, float across, float down) {
  // A chord of n leaves the arc by r (1 - cos(pi / n)), which n = 10 sqrt(r) keeps below 0.05.
  const Point radii = within_reach({std::abs(across), std::abs(down)});
  const float radius = std::max({radii.x, radii.y, 1.0f});
  const int corners = 8 + static_cast<int>(10.0f * std::sqrt(radius));
  Polyline polygon;
  for (int i = 0; i < corners; ++i) {
    const float angle =
        2.0f * std::numbers::pi_v<float> * static_cast<float>(i) / static_cast<float>(corners);
    polygon.push_back(centre + Point{radii.x * std::cos(angle), radii.y * std::sin(angle)});
  }
  return polygon;
}

std::string id_of_image(const std::string& path, const std::string& where) {
  const std::filesystem::path image = std::filesystem::path(path).lexically_normal();
  if (std::ranges::any_of(path, [](unsigned char c) { return c < ' ' || c == 0x7F; }))
    throw InputError("{}: the image's name holds a line break or another control character", where);
  if (image.stem().empty() || image.is_absolute() || *image.begin() == "..") {
    throw InputError("{}: '{}' is no name of an image below the folder of images", where, path);
  }
  return (image.parent_path() / image.stem()).string();
}

}  // namespace scrawl
