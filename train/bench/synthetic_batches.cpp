#include "train/bench/synthetic_batches.h"

#include <algorithm>

#include "engine/ops.h"
#include "engine/random.h"
#include "kernels/labels.h"

namespace scrawl {

SyntheticBatches::SyntheticBatches(Device& device, int images, int crop, int classes, DType storage)
    : tags_(size_t{1} * images * classes, 0) {
  Random random(1, 0);
  const int64_t pixels = int64_t{crop} * crop;
  std::vector<float> image(3 * images * pixels);
  for (float& value : image) value = random.normal();
  std::vector<uint8_t> label(images * pixels, kUnlabelled);
  for (int i = 0; i < images; ++i) {
    for (const int k : {0, 1 + i % (classes - 1), 1 + (7 * i + 3) % (classes - 1)}) {
      tags_[i * classes + k] = 1;
      const int top = crop * (20 + 6 * (k % 10)) / 100;
      for (int y = top; y < std::min(top + 3, crop); ++y)
        std::fill_n(label.begin() + i * pixels + int64_t{y} * crop + crop / 4, crop / 2, k);
    }
  }
  Tape tape(device, Tape::Mode::evaluate);
  batch_ = {.image = ops::cast(tape, Tensor::from(device, {images, crop, crop, 3}, image), storage),
            .label = Tensor::from(device, {images, crop, crop}, label),
            .present = Tensor::from(device, {images, classes}, tags_)};
}

}  // namespace scrawl
