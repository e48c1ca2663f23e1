#include <algorithm>

#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

struct Sizes {
  int64_t images, classes, slots, channels;
};

Number cosine(const Number* a, const Number* b, int64_t n) {
  Number ab, aa, bb;
  for (int64_t i = 0; i < n; ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
  return ab / std::max<Number>(sqrt(aa * bb), 1e-16);
}

/// v: prototypes, present, bank, filled -> bank and filled afterwards.
Outputs reference(const Sizes& s, double rate, const std::vector<Numbers>& v) {
  Numbers bank = v[2], filled = v[3];
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t k = 0; k < s.classes; ++k) {
      if (v[1][n * s.classes + k].value() == 0.0) continue;
      const Number* prototype = &v[0][(n * s.classes + k) * s.channels];
      Number* slots = &bank[k * s.slots * s.channels];
      if (filled[k].value() < s.slots) {
        std::copy_n(prototype, s.channels, slots + static_cast<int64_t>(filled[k].value()) * s.channels);
        filled[k] += 1.0;
        continue;
      }
      int64_t best = 0;
      for (int64_t i = 1; i < s.slots; ++i)
        if (cosine(slots + i * s.channels, prototype, s.channels) >
            cosine(slots + best * s.channels, prototype, s.channels))
          best = i;
      for (int64_t c = 0; c < s.channels; ++c) {
        Number& value = slots[best * s.channels + c];
        value = rate * value + (1.0 - rate) * prototype[c];
      }
    }
  return {bank, filled};
}

OpCase bank_case(std::string name, const Sizes& s, Draw filled, float rate = 0.99f, Draw present = tags(),
                 Draw values = normal()) {
  return {.name = "bank_" + name,
          .inputs = {{"prototypes", {s.images, s.classes, s.channels}, normal(), constant, DType::f32},
                     {"present", {s.images, s.classes}, present, constant, DType::u8},
                     {"bank", {s.classes, s.slots, s.channels}, values, state, DType::f32},
                     {"filled", {s.classes}, filled, state, DType::i32}},
          .run =
              [=](Tape&, const std::vector<Tensor>& t) {
                ops::update_bank(t[0], t[1], rate, t[2], t[3]);
                return std::vector{t[2], t[3]};
              },
          .reference = [=](const std::vector<Numbers>& v) { return reference(s, rate, v); }};
}

}  // namespace

std::vector<OpCase> bank_cases() {
  const auto zero = always(0.0);
  return {
      bank_case("empty", {3, 5, 10, 33}, zero, 0.99f, tags(), zero),
      bank_case("partly_filled", {3, 21, 4, 8}, whole_numbers(5)),
      // The first images fill the last slot, the next ones already move it.
      bank_case("fills_then_moves", {12, 3, 2, 5}, exactly({0, 1, 2}), 0.9f, tags(0.8)),
      bank_case("many_images", {37, 3, 4, 33}, whole_numbers(5), 0.5f, tags(0.9)),
      bank_case("close_slots", {64, 4, 5, 2}, always(5.0), 0.5f, tags(1.0)),
      bank_case("many_slots", {20, 2, 70, 9}, exactly({69, 70}), 0.7f, tags(0.9)),
      bank_case("full", {3, 5, 10, 33}, always(10.0), 0.5f, tags(1.0)),
      bank_case("one_slot", {2, 2, 1, 3}, always(1.0)),
      bank_case("wide", {2, 3, 3, 1025}, always(3.0)),
      bank_case("beyond_shared_memory", {19, 2, 10, 1025}, exactly({3, 10}), 0.9f, tags(0.9)),
      bank_case("255_classes", {2, 255, 2, 3}, whole_numbers(3)),
      bank_case("equal_slots", {2, 3, 4, 5}, always(4.0), 0.9f, tags(1.0), always(0.5)),
      bank_case("nothing_present", {2, 5, 3, 4}, whole_numbers(4), 0.99f, zero),
  };
}

}  // namespace scrawl::op_table
