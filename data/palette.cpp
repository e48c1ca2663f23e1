#include "data/palette.h"

namespace scrawl {

Palette voc_palette() {
  Palette palette{};
  for (int index = 0; index < 256; ++index) {
    for (int bit = 0; bit < 8; ++bit) {
      palette[index][bit % 3] |= static_cast<uint8_t>(((index >> bit) & 1) << (7 - bit / 3));
    }
  }
  return palette;  // the rule itself makes 255 the void colour
}

}  // namespace scrawl
