#include <algorithm>

#include "engine/ops.h"
#include "tests/op_cases/bilinear.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

OpCase arg_max_case(std::string name, const Shape& logits, int height, int width, Draw draw = normal()) {
  const int64_t classes = logits[3];
  return {.name = "arg_max_" + name,
          .inputs = {{"logits", logits, draw, constant}},
          .run = [=](Tape&,
                     const std::vector<Tensor>& t) { return std::vector{ops::arg_max(t[0], height, width)}; },
          .reference =
              [=](const std::vector<Numbers>& v) {
                const Numbers up = bilinear(v[0], logits, height, width, /*align_corners=*/true);
                Numbers best;
                for (auto pixel = up.begin(); pixel != up.end(); pixel += classes)
                  best.emplace_back(static_cast<double>(std::max_element(pixel, pixel + classes) - pixel));
                return Outputs{best};
              },
          .mode = Tape::Mode::evaluate};
}

OpCase confusion_case(std::string name, int64_t pixels, int classes, double unlabelled) {
  return {.name = "confusion_" + name,
          .inputs = {{"prediction", {1, 1, pixels}, whole_numbers(classes), constant, DType::u8},
                     {"truth", {1, 1, pixels}, labels(classes, unlabelled), constant, DType::u8},
                     {"counts", {classes, classes}, whole_numbers(1000), state, DType::i64}},
          .run =
              [](Tape&, const std::vector<Tensor>& t) {
                ops::count_confusion(t[0], t[1], t[2]);
                return std::vector{t[2]};
              },
          .reference =
              [=](const std::vector<Numbers>& v) {
                Numbers counts = v[2];
                for (size_t i = 0; i < v[0].size(); ++i)
                  if (const double truth = v[1][i].value(); truth != 255.0)
                    counts[static_cast<size_t>(truth * classes + v[0][i].value())] += 1.0;
                return Outputs{counts};
              },
          .mode = Tape::Mode::evaluate};
}

}  // namespace

std::vector<OpCase> segmentation_cases() {
  return {
      arg_max_case("7x5_to_27x19", {2, 7, 5, 5}, 27, 19),
      arg_max_case("9x11_to_33x41", {3, 9, 11, 21}, 33, 41),
      arg_max_case("255_classes", {1, 3, 2, 255}, 9, 7),
      arg_max_case("one_class", {1, 3, 2, 1}, 9, 7),
      arg_max_case("from_one_cell", {2, 1, 1, 3}, 7, 5),
      arg_max_case("one_pixel", {2, 3, 3, 3}, 1, 1),
      arg_max_case("downwards", {1, 13, 9, 3}, 5, 4),
      arg_max_case("ties", {2, 7, 5, 5}, 7, 5, whole_numbers(3)),
      confusion_case("1", 1, 2, 0.0),
      confusion_case("1025_of_21_classes", 1025, 21, 0.3),
      confusion_case("100000_of_5_classes", 100000, 5, 0.1),
      confusion_case("255_classes", 5000, 255, 0.1),
      confusion_case("nothing_labelled", 33, 3, 1.0),
  };
}

}  // namespace scrawl::op_table
