#include "engine/ops.h"
#include "tests/op_cases/draws.h"
#include "tests/op_cases/softmax.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

struct Sizes {
  int64_t images, positions, size, classes, slots;
  bool shared;  // one set of prototypes for all images: the bank
};

/// Products, softmax, products; the queries themselves behind.
Numbers reference(const Sizes& s, const Numbers& q, const Numbers& prototypes, const Numbers& present) {
  const int64_t count = s.classes * s.slots;
  Numbers y(s.images * s.positions * 2 * s.size);
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t i = 0; i < s.positions; ++i) {
      const Number* query = &q[(n * s.positions + i) * s.size];
      Number* out = &y[(n * s.positions + i) * 2 * s.size];
      std::vector<const Number*> keys;
      for (int64_t j = 0; j < count; ++j)
        if (present[n * s.classes + j / s.slots].value() != 0.0)
          keys.push_back(&prototypes[((s.shared ? 0 : n) * count + j) * s.size]);
      Numbers p;
      for (const Number* key : keys) {
        Number score;
        for (int64_t d = 0; d < s.size; ++d) score += query[d] * key[d];
        p.push_back(stored(score));
      }
      if (!keys.empty()) p = softmax(p.data(), keys.size());
      for (size_t j = 0; j < keys.size(); ++j) {
        const Number share = stored(p[j]);
        for (int64_t d = 0; d < s.size; ++d) out[d] += share * keys[j][d];
      }
      for (int64_t d = 0; d < s.size; ++d) out[s.size + d] = query[d];
    }
  return y;
}

OpCase prototype_attention_case(std::string name, const Sizes& s, Draw present = tags(), double scale = 1.0,
                                double slack = 1.0) {
  return {.name = "prototype_attention_" + name,
          .inputs = {{"q", {s.images, s.positions, s.size}, normal(scale), parameter},
                     {"prototypes",
                      {s.shared ? 1 : s.images, s.classes * s.slots, s.size},
                      normal(scale),
                      parameter},
                     {"present", {s.images, s.classes}, present, constant, DType::u8}},
          .run =
              [](Tape& tape, const std::vector<Tensor>& t) {
                return std::vector{ops::prototype_attention(tape, t[0], t[1], t[2])};
              },
          .reference = [=](const std::vector<Numbers>& v) { return Outputs{reference(s, v[0], v[1], v[2])}; },
          .slack = slack};
}

}  // namespace

std::vector<OpCase> prototype_attention_cases() {
  return {
      prototype_attention_case("one_of_everything", {1, 1, 1, 1, 1, false}),
      prototype_attention_case("local_21_classes", {3, 35, 33, 21, 1, false}),
      prototype_attention_case("local_2_classes", {2, 117, 8, 2, 1, false}),
      prototype_attention_case("local_255_classes", {1, 7, 3, 255, 1, false}),
      prototype_attention_case("global_5_classes", {3, 35, 16, 5, 10, true}),
      prototype_attention_case("global_21_classes", {2, 33, 12, 21, 10, true}),
      prototype_attention_case("global_one_image", {1, 132, 5, 3, 3, true}),
      prototype_attention_case("1025_positions", {1, 1025, 3, 2, 2, true}),
      prototype_attention_case("2500_positions", {2, 2500, 4, 3, 1, false}),
      // More keys than a block of a GPU's backward kernel takes.
      prototype_attention_case("150_present", {2, 37, 16, 15, 10, true}, tags(1.0), 0.7),
      prototype_attention_case("size_128", {2, 45, 128, 5, 4, true}, tags(), 0.3),
      prototype_attention_case("size_96", {2, 45, 96, 5, 4, true}, tags(), 0.3),
      // Rows of 128 values have kernels of their own on a GPU: chunks of 64 positions, room for 16, 32 and 64
      // keys, and what serves other sizes for more.
      prototype_attention_case("size_128_local", {3, 70, 128, 21, 1, false}, tags(0.15), 0.3),
      prototype_attention_case("size_128_one_position", {2, 1, 128, 3, 1, false}, tags(), 0.3),
      prototype_attention_case("size_128_64_positions", {1, 64, 128, 4, 2, true}, tags(1.0), 0.3),
      prototype_attention_case("size_128_8_keys", {1, 17, 128, 8, 1, false}, tags(1.0), 0.3),
      prototype_attention_case("size_128_16_keys", {1, 15, 128, 16, 1, true}, tags(1.0), 0.3),
      prototype_attention_case("size_128_17_keys", {1, 16, 128, 17, 1, false}, tags(1.0), 0.3),
      prototype_attention_case("size_128_32_keys", {1, 9, 128, 4, 8, true}, tags(1.0), 0.3),
      prototype_attention_case("size_128_33_keys", {1, 8, 128, 3, 11, true}, tags(1.0), 0.3),
      prototype_attention_case("size_128_64_keys", {1, 33, 128, 8, 8, true}, tags(1.0), 0.3),
      prototype_attention_case("size_128_65_keys", {1, 65, 128, 5, 13, true}, tags(1.0), 0.3),
      prototype_attention_case("size_128_130_keys", {1, 21, 128, 13, 10, true}, tags(1.0), 0.3),
      prototype_attention_case("size_128_few_and_many_keys", {2, 19, 128, 3, 30, true},
                               exactly({1, 0, 1, 1, 1, 1}), 0.3),
      prototype_attention_case("size_128_image_without_classes", {3, 67, 128, 2, 1, false},
                               exactly({1, 1, 0, 0, 0, 1}), 0.3),
      prototype_attention_case("size_128_bank_image_without_classes", {2, 9, 128, 2, 40, true},
                               exactly({0, 0, 1, 1}), 0.3),
      prototype_attention_case("size_128_saturated", {2, 33, 128, 5, 3, true}, tags(), 1.5, 20.0),
      prototype_attention_case("size_132", {2, 7, 132, 5, 1, false}, tags(), 0.5),
      prototype_attention_case("size_260", {1, 3, 260, 4, 3, true}, tags(), 0.5),
      prototype_attention_case("background_only", {2, 9, 8, 5, 2, true}, tags(0.0)),
      prototype_attention_case("all_present", {2, 9, 8, 5, 2, true}, tags(1.0)),
      prototype_attention_case("image_without_classes", {3, 9, 8, 2, 1, false}, exactly({1, 1, 0, 0, 0, 1})),
      prototype_attention_case("bank_image_without_classes", {2, 9, 8, 2, 3, true}, exactly({0, 0, 1, 1})),
      // Scores beyond ±80: one prototype takes all, and exp must not overflow.  A score of 100 is known to
      // 1e-5.
      prototype_attention_case("saturated", {2, 33, 16, 5, 3, true}, tags(), 3.0, 20.0),
  };
}

}  // namespace scrawl::op_table
