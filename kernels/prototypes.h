#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// Prototypes of every image and class present in it.  Per image and class: a = relu(logit), lo and hi its
/// extremes over the positions, values below lo + 1e-5 become 0, then a = (a − lo − 1e-5) / (hi − lo + 1e-5);
/// the `top` largest (ties: lower position first) weigh their features; the mean is divided by
/// max(its norm, 1e-12).  Classes that are not present get zeros.
/// features [images, positions, channels]; logits [images, positions, classes]; present [images, classes];
/// prototypes [images, classes, channels].
struct PrototypeExtraction {
  static constexpr std::string_view name = "prototypes.extract";
  DType dtype = DType::f32;
  const void* features = nullptr;
  const void* logits = nullptr;
  const uint8_t* present = nullptr;
  float* prototypes = nullptr;
  int64_t images = 0;
  int positions = 0, channels = 0, classes = 0;
  int top = 0;  // the method takes positions / 12
  Cost cost() const {
    return {images * (positions * int64_t{classes} + top * int64_t{channels}) * size_of(dtype),
            images * classes * (4 * int64_t{positions} + 2 * int64_t{top} * channels)};
  }
};

/// The bank of global prototypes, image by image in batch order: a class with an empty slot stores its
/// prototype there; once full, the slot of highest cosine similarity (ties: first) becomes
/// rate · slot + (1 − rate) · prototype, not normalised again.
/// bank [classes, slots, channels]; filled [classes] counts the slots in use.
struct BankUpdate {
  static constexpr std::string_view name = "prototypes.bank_update";
  const float* prototypes = nullptr;
  const uint8_t* present = nullptr;
  float* bank = nullptr;
  int32_t* filled = nullptr;
  int64_t images = 0;
  int classes = 0, slots = 0, channels = 0;
  float rate = 0.99f;
  Cost cost() const {
    const int64_t bank_size = int64_t{classes} * slots * channels;
    return {(2 * bank_size + images * classes * channels) * 4, images * bank_size * 4};
  }
};

namespace cpu {
void run(const PrototypeExtraction&, Queue&);
void run(const BankUpdate&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const PrototypeExtraction&, Queue&);
void run(const BankUpdate&, Queue&);
}  // namespace cuda
namespace simt {
void run(const PrototypeExtraction&, Queue&);
void run(const BankUpdate&, Queue&);
}  // namespace simt

}  // namespace scrawl
