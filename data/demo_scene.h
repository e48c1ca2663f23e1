#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "data/image.h"
#include "data/label_map.h"

namespace scrawl {

/// A drawn photo and its dense mask, both size x size.
struct DemoScene {
  Image photo;
  LabelMap truth;
};

/// Names of the classes in order of their index; the first is the background.
std::span<const std::string_view> demo_class_names();

/// One to four textured objects on a textured ground, lit, shaded and noisy; later objects cover earlier
/// ones.  A class leans towards a colour and a texture but also appears in all others, so that only shape
/// settles it.  Depends on nothing but the arguments; the first object's class goes round with the index.
DemoScene draw_demo_scene(int size, uint64_t seed, uint64_t index);

}  // namespace scrawl
