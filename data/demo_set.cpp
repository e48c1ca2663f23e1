#include "data/demo_set.h"

#include <algorithm>
#include <string>

#include "data/for_each_index.h"
#include "data/palette.h"
#include "data/scribble_strokes.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

constexpr uint64_t kScribbleStream = 0x5C41B;  // of the random numbers
constexpr float kErosion = 3.0f;               // strokes come near the outlines, which they have to teach
constexpr int kLeastArea = 60;                 // nobody marks a smaller speck

std::string demo_id(int index) {
  return fmt::format("demo_{:04}", index);
}

/// Takes from the mask what lies near the line: where a second stroke should not run again.
void forget_near(Mask& mask, Polyline line, float distance) {
  for (Point& p : line) p = p - Point{static_cast<float>(mask.left), static_cast<float>(mask.top)};
  LabelMap near{mask.height, mask.width, std::vector<uint8_t>(mask.inside.size(), 0)};
  draw_polyline(near, line, 1, 2.0f * distance);
  for (size_t i = 0; i < mask.inside.size(); ++i) mask.inside[i] = mask.inside[i] && !near.labels[i];
}

/// The stroke with its end drawn on past the edge of the object by a few pixels.
Polyline overrun(Polyline stroke, const Mask& object, const LabelMap& image, Random& random) {
  if (stroke.size() < 4) return stroke;
  const Point end = stroke.back(), from = stroke[stroke.size() - 4];
  const float run = length(end - from);
  if (run == 0.0f) return stroke;
  const Point step = (1.0f / run) * (end - from);
  int beyond = 2 + static_cast<int>(random.below(4));
  for (Point p = end + step; beyond > 0; p = p + step) {
    const int x = static_cast<int>(std::lround(p.x)), y = static_cast<int>(std::lround(p.y));
    if (x < 0 || x >= image.width || y < 0 || y >= image.height) break;
    if (!object.contains(x, y)) --beyond;
    stroke.push_back(p);
  }
  return stroke;
}

float erosion_of(const Mask& piece, const LabelMap& image) {
  return erosion_for(static_cast<double>(piece.area()) / static_cast<double>(image.labels.size()), kErosion);
}

void scribble_object(LabelMap& scribble, Mask visible, uint8_t label, Random& random) {
  const int strokes = random.chance(0.2f) ? 2 : 1;
  for (int i = 0; i < strokes; ++i) {
    const StrokeStyle style{.erosion = erosion_of(visible, scribble), .kept = random.uniform(0.65f, 0.95f)};
    const Polyline stroke = stroke_within(visible, style, random);
    draw_polyline(scribble, random.chance(0.12f) ? overrun(stroke, visible, scribble, random) : stroke,
                  label);
    forget_near(visible, stroke, 5.0f);
  }
}

void scribble_background(LabelMap& scribble, const LabelMap& truth, Random& random) {
  std::vector<Mask> pieces = components(truth, 0, kLeastArea);
  std::ranges::stable_sort(pieces, std::greater{}, &Mask::area);
  const int strokes = random.chance(0.8f) ? 2 : 1;
  for (size_t p = 0; p < pieces.size(); ++p) {
    if (p > 0 && !random.chance(0.7f)) continue;  // the hole of a ring, a corner cut off
    for (int i = 0; i < (p == 0 ? strokes : 1); ++i) {
      const StrokeStyle style{.erosion = erosion_of(pieces[p], truth), .kept = random.uniform(0.6f, 0.9f)};
      const Polyline stroke = stroke_within(pieces[p], style, random);
      draw_polyline(scribble, stroke, 0);
      forget_near(pieces[p], stroke, 12.0f);
    }
  }
}

void write_list(const std::filesystem::path& path, int first, int end) {
  write_file_atomically(path, [&](std::ostream& out) {
    for (int i = first; i < end; ++i) out << demo_id(i) << '\n';
  });
}

}  // namespace

LabelMap draw_demo_scribbles(const DemoScene& scene, uint64_t seed, uint64_t index) {
  Random random(seed, kScribbleStream, index);
  const LabelMap& truth = scene.truth;
  LabelMap scribble{truth.height, truth.width, std::vector<uint8_t>(truth.labels.size(), kUnlabelled)};
  scribble_background(scribble, truth, random);
  for (size_t label = 1; label < demo_class_names().size(); ++label) {
    for (Mask& visible : components(truth, static_cast<uint8_t>(label), kLeastArea)) {
      scribble_object(scribble, std::move(visible), static_cast<uint8_t>(label), random);
    }
  }
  return scribble;
}

void draw_demo_set(const std::filesystem::path& root, const DemoConfig& config,
                   const ProgressCallback& progress) {
  if (config.train_images < 1 || config.val_images < 1 || config.size < 64) {
    throw InputError(
        "demo set: expected at least 1 training and 1 validation image of at least 64 pixels, got {}, {} and "
        "{}",
        config.train_images, config.val_images, config.size);
  }
  constexpr int kQuality = 90;
  const Palette palette = voc_palette();
  const int total = config.train_images + config.val_images;
  for (const char* folder : {"ImageSets", "JPEGImages", "ScribbleLabels", "SegmentationClass"}) {
    make_directories(root / folder);
  }
  for_each_index(
      total,
      [&](int i) {
        const DemoScene scene = draw_demo_scene(config.size, config.seed, static_cast<uint64_t>(i));
        const std::string id = demo_id(i);
        write_jpeg(root / "JPEGImages" / (id + ".jpg"), scene.photo, kQuality);
        write_label_map(root / "SegmentationClass" / (id + ".png"), scene.truth, palette);
        const LabelMap scribble = draw_demo_scribbles(scene, config.seed, static_cast<uint64_t>(i));
        write_label_map(root / "ScribbleLabels" / (id + ".png"), scribble, palette);
      },
      progress);
  write_file_atomically(root / "classes.txt", [](std::ostream& out) {
    for (const std::string_view name : demo_class_names()) out << name << '\n';
  });
  write_list(root / "ImageSets" / "train.txt", 0, config.train_images);
  write_list(root / "ImageSets" / "val.txt", config.train_images, total);
}

}  // namespace scrawl
