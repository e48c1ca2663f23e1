#pragma once
#include "data/label_map.h"

namespace scrawl {

/// The PASCAL VOC colours: the bits of a class index are dealt to red, green and blue in turn, the lowest
/// to the highest bit of a channel.  255, the void label, is VOC's cream (224, 224, 192).
Palette voc_palette();

}  // namespace scrawl
