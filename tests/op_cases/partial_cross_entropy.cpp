#include "engine/ops.h"
#include "tests/op_cases/bilinear.h"
#include "tests/op_cases/draws.h"
#include "tests/op_cases/softmax.h"

namespace scrawl::op_table {
namespace {

OpCase partial_cross_entropy_case(std::string name, const Shape& logits, int64_t height, int64_t width,
                                  double unlabelled, Draw draw = normal(2.0)) {
  const int64_t classes = logits[3];
  const auto reference = [=](const std::vector<Numbers>& v) {
    Numbers up = bilinear(v[0], logits, height, width, /*align_corners=*/true);
    for (Number& value : up) value = stored(value);
    Number sum;
    int count = 0;
    for (size_t pixel = 0; pixel < v[1].size(); ++pixel) {
      const auto label = static_cast<size_t>(v[1][pixel].value());
      if (label == 255) continue;
      sum -= log_softmax(&up[pixel * classes], classes)[label];
      ++count;
    }
    return Outputs{Numbers{count > 0 ? sum / count : sum}};
  };
  return {.name = "partial_cross_entropy_" + name,
          .inputs = {{"logits", logits, draw},
                     {"label",
                      {logits[0], height, width},
                      labels(static_cast<int>(classes), unlabelled),
                      Input::Role::constant,
                      DType::u8}},
          .run =
              [](Tape& tape, const std::vector<Tensor>& t) {
                return std::vector{ops::partial_cross_entropy(tape, t[0], ops::count_labelled(t[1]))};
              },
          .reference = reference,
          .slack = 2.0};  // fp32 knows a source coordinate near 30 to 2e-6 only
}

}  // namespace

std::vector<OpCase> partial_cross_entropy_cases() {
  return {
      partial_cross_entropy_case("one_pixel", {1, 1, 1, 2}, 1, 1, 0.0),
      partial_cross_entropy_case("one_class", {1, 3, 3, 1}, 7, 5, 0.5),
      partial_cross_entropy_case("7x5_to_27x19", {2, 7, 5, 5}, 27, 19, 0.9),
      partial_cross_entropy_case("9x11_to_33x41", {3, 9, 11, 21}, 33, 41, 0.97),
      partial_cross_entropy_case("33x41_to_131x163", {2, 33, 41, 3}, 131, 163, 0.9),
      partial_cross_entropy_case("255_classes", {1, 3, 2, 255}, 9, 7, 0.5),
      partial_cross_entropy_case("all_labelled", {2, 4, 3, 5}, 13, 9, 0.0),
      partial_cross_entropy_case("nothing_labelled", {2, 4, 3, 5}, 13, 9, 1.0),
      partial_cross_entropy_case("from_one_cell", {2, 1, 1, 3}, 7, 5, 0.3),
      // Patches of more pixels than a block reads at a time.
      partial_cross_entropy_case("2x3_to_41x37", {2, 2, 3, 5}, 41, 37, 0.8),
      partial_cross_entropy_case("identity", {2, 7, 5, 3}, 7, 5, 0.3),
      partial_cross_entropy_case("downwards", {1, 13, 9, 3}, 5, 4, 0.0),
      partial_cross_entropy_case("saturated", {2, 4, 3, 5}, 13, 9, 0.5, normal(40.0)),
  };
}

}  // namespace scrawl::op_table
