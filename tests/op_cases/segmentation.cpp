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

OpCase tags_case(std::string name, const Shape& prediction, int classes, Draw draw) {
  return {
      .name = "predicted_tags_" + name,
      .inputs = {{"prediction", prediction, draw, constant, DType::u8}},
      .run = [=](Tape&,
                 const std::vector<Tensor>& t) { return std::vector{ops::predicted_tags(t[0], classes)}; },
      .reference =
          [=](const std::vector<Numbers>& v) {
            const int64_t images = prediction[0], pixels = prediction[1] * prediction[2];
            Numbers tags(images * classes, 0.0);
            for (int64_t i = 0; i < images; ++i) tags[i * classes] = 1.0;
            for (int64_t i = 0; i < images * pixels; ++i)
              tags[i / pixels * classes + static_cast<int64_t>(v[0][i].value())] = 1.0;
            return Outputs{tags};
          },
      .mode = Tape::Mode::evaluate};
}

/// One pixel of class 1 in each image, at its very end; all else is background.
Draw last_pixel_only() {
  return [](const Shape& shape, Random&) {
    Values values(shape.elements(), 0.0);
    const int64_t pixels = shape.elements() / shape[0];
    for (int64_t i = 1; i <= shape[0]; ++i) values[i * pixels - 1] = 1.0;
    return values;
  };
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
      tags_case("one_pixel", {1, 1, 1}, 5, whole_numbers(5)),
      tags_case("few_pixels_of_many_classes", {4, 5, 7}, 255, whole_numbers(255)),
      tags_case("256_classes", {2, 4, 8}, 256, whole_numbers(256)),
      tags_case("background_only", {2, 8, 8}, 3, always(0.0)),
      tags_case("without_background", {3, 8, 8}, 2, always(1.0)),
      tags_case("last_pixel", {3, 160, 112}, 3, last_pixel_only()),
      tags_case("last_pixel_of_odd_sizes", {3, 47, 53}, 3, last_pixel_only()),
  };
}

}  // namespace scrawl::op_table
