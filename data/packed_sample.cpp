#include "data/packed_sample.h"

#include <algorithm>

namespace scrawl {

PackedSample pack(const Sample& sample) {
  PackedSample packed{sample.id, sample.image.height, sample.image.width, pack(sample.image), sample.present};
  for (size_t i = 0; i < packed.pixels.size(); ++i) packed.pixels[i].label = sample.label.labels[i];
  return packed;
}

std::vector<LabelledPixel> pack(const Image& image) {
  std::vector<LabelledPixel> pixels(image.pixels.size() / 3);
  for (size_t i = 0; i < pixels.size(); ++i) std::copy_n(&image.pixels[3 * i], 3, pixels[i].rgb);
  return pixels;
}

}  // namespace scrawl
