#include "data/mask_scribbles.h"

#include <algorithm>
#include <mutex>

#include "data/scribble_strokes.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMaskStream = 0x5C41C;  // of the random numbers

/// FNV-1a, so that an image's strokes hang on its name and not on its place among others.
uint64_t hash(std::string_view text) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const char c : text) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return value;
}

/// Draws within the component only: a pen is thinner where the object is.
void draw_inside(LabelMap& map, const Mask& component, Polyline line, uint8_t label, float width) {
  for (Point& p : line) p = p - Point{static_cast<float>(component.left), static_cast<float>(component.top)};
  LabelMap window{component.height, component.width, std::vector<uint8_t>(component.inside.size(), 0)};
  draw_polyline(window, line, 1, width);
  for (int y = 0; y < component.height; ++y) {
    for (int x = 0; x < component.width; ++x) {
      const size_t i = static_cast<size_t>(y) * component.width + x;
      if (window.labels[i] && component.inside[i])
        map.labels[static_cast<size_t>(y + component.top) * map.width + x + component.left] = label;
    }
  }
}

/// Comparisons that no NaN passes.
void check(const ScribbleStyle& style) {
  const auto is_share = [](float value) { return value >= 0.0f && value <= 1.0f; };
  if (style.width >= 1.0f && style.width <= 100.0f && is_share(style.length) && is_share(style.dropped))
    return;
  throw InputError(
      "strokes {} pixels wide, of {} of their length, {} of them dropped: expected 1 to 100 pixels and "
      "shares of 0 "
      "to 1",
      style.width, style.length, style.dropped);
}

}  // namespace

std::vector<std::string> find_masks(const fs::path& folder) {
  std::vector<std::string> ids;
  for (const fs::path& mask : list_files(folder, ".png")) ids.push_back(mask.stem().string());
  return ids;
}

ScribbleCount& ScribbleCount::operator+=(const ScribbleCount& other) {
  images += other.images;
  marked += other.marked;
  components += other.components;
  strokes += other.strokes;
  too_small += other.too_small;
  dropped += other.dropped;
  pixels += other.pixels;
  on_class += other.on_class;
  return *this;
}

LabelMap scribble_mask(const LabelMap& mask, std::string_view id, const ScribbleStyle& style,
                       ScribbleCounts& counts) {
  LabelMap scribble{mask.height, mask.width, std::vector<uint8_t>(mask.labels.size(), kUnlabelled)};
  std::array<bool, 256> shown{};
  for (const uint8_t label : mask.labels) shown[label] = true;
  for (int label = 0; label < kUnlabelled; ++label) {
    if (!shown[label]) continue;
    ScribbleCount count{.images = 1};
    for (const Mask& component : components(mask, static_cast<uint8_t>(label), 1)) {
      Random random(style.seed, kMaskStream + (label << 20) + count.components++, hash(id));
      const int64_t area = component.area();
      if (area < style.minimum_area) {
        ++count.too_small;
      } else if (random.chance(style.dropped)) {
        ++count.dropped;
      } else {
        const double share = static_cast<double>(area) / static_cast<double>(mask.labels.size());
        // Where the component allows it, the pen keeps inside by itself.
        const float erosion = std::max(erosion_for(share), 0.5f * style.width + 0.7f);
        const Polyline stroke = stroke_within(component, {.erosion = erosion}, random);
        draw_inside(scribble, component, shortened(stroke, style.length), static_cast<uint8_t>(label),
                    style.width);
        ++count.strokes;
      }
    }
    count.marked = count.strokes > 0;
    counts[label] += count;
  }
  for (size_t i = 0; i < mask.labels.size(); ++i) {
    ScribbleCount& count = counts[scribble.labels[i]];
    if (scribble.labels[i] == kUnlabelled) continue;
    ++count.pixels;
    count.on_class += mask.labels[i] == scribble.labels[i];
  }
  return scribble;
}

ScribbleSet scribble_masks(const ScribbleSetConfig& config, const ProgressCallback& progress) {
  check(config.style);
  ScribbleSet set{.ids = find_masks(config.masks)};
  std::vector<uint8_t> marked(set.ids.size());
  std::mutex counting;
  write_folder_atomically(config.out, [&](const fs::path& out) {
    const auto draw = [&](int i) {
      const std::string name = set.ids[i] + ".png";
      const LabelMap mask = read_label_map(config.masks / name, config.classes, config.ignore_label);
      ScribbleCounts counts{};
      write_label_map(out / name, scribble_mask(mask, set.ids[i], config.style, counts), config.palette);
      const std::lock_guard lock(counting);
      for (size_t label = 0; label < counts.size(); ++label) {
        marked[i] |= counts[label].strokes > 0;
        set.counts[label] += counts[label];
      }
    };
    for_each_index(static_cast<int>(set.ids.size()), draw, progress, config.threads);
  });
  for (size_t i = 0; i < set.ids.size(); ++i) {
    if (!marked[i]) set.empty.push_back(set.ids[i]);
  }
  return set;
}

}  // namespace scrawl
