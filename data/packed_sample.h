#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "kernels/augmentation.h"

namespace scrawl {

/// A sample as the augmentation reads it.
struct PackedSample {
  std::string id;
  int height = 0, width = 0;
  std::vector<LabelledPixel> pixels;  // [height, width]
  std::vector<uint8_t> present;       // [classes]
};

PackedSample pack(const Sample& sample);

/// A photo's pixels, unlabelled.
std::vector<LabelledPixel> pack(const Image& image);

}  // namespace scrawl
