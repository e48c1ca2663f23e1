#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/ops.h"
#include "kernels/prototypes.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

struct Sizes {
  int64_t images, height, width, channels, classes;
  int64_t positions() const { return height * width; }
};

/// How strongly each position speaks for one class.
Numbers activation(const Sizes& s, const Numbers& logits, int64_t image, int64_t k) {
  Numbers a(s.positions());
  for (int64_t i = 0; i < s.positions(); ++i)
    a[i] = std::max<Number>(logits[(image * s.positions() + i) * s.classes + k], 0.0);
  const auto [lo, hi] = std::minmax_element(a.begin(), a.end());
  const Number low = *lo, high = *hi;
  for (Number& value : a)
    value = ((value < low + 1e-5 ? Number(0.0) : value) - low - 1e-5) / (high - low + 1e-5);
  return a;
}

Numbers reference(const Sizes& s, int64_t top, const std::vector<Numbers>& v) {
  Numbers prototypes(s.images * s.classes * s.channels);
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t k = 0; k < s.classes; ++k) {
      if (v[2][n * s.classes + k].value() == 0.0 || top == 0) continue;
      const Numbers a = activation(s, v[1], n, k);
      std::vector<int64_t> order(s.positions());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return a[i] > a[j]; });
      Number* prototype = &prototypes[(n * s.classes + k) * s.channels];
      Number weight, squares;
      for (int64_t i = 0; i < top; ++i) weight += a[order[i]];
      for (int64_t i = 0; i < top; ++i)
        for (int64_t c = 0; c < s.channels; ++c)
          prototype[c] += a[order[i]] / weight * v[0][(n * s.positions() + order[i]) * s.channels + c];
      for (int64_t c = 0; c < s.channels; ++c) squares += prototype[c] * prototype[c];
      for (int64_t c = 0; c < s.channels; ++c) prototype[c] /= std::max<Number>(sqrt(squares), 1e-12);
      if (!std::isfinite(squares.value())) std::fill_n(prototype, s.channels, Number(0.0));
    }
  return prototypes;
}

std::vector<Input> inputs(const Sizes& s, const Draw& logits, const Draw& present) {
  return {{"features", {s.images, s.height, s.width, s.channels}, normal(1.0, 0.3), constant},
          {"logits", {s.images, s.height, s.width, s.classes}, logits, constant},
          {"present", {s.images, s.classes}, present, constant, DType::u8}};
}

OpCase extract_case(std::string name, const Sizes& s, Draw logits = normal(2.0), Draw present = tags()) {
  return {.name = "prototypes_" + name,
          .inputs = inputs(s, logits, present),
          .run =
              [](Tape&, const std::vector<Tensor>& t) {
                return std::vector{ops::extract_prototypes(t[0], t[1], t[2])};
              },
          .reference =
              [=](const std::vector<Numbers>& v) { return Outputs{reference(s, s.positions() / 12, v)}; },
          .slack = 5.0};  // a weight is a difference of logits
}

/// The kernel with a number of positions that the operation would not choose.
OpCase kernel_case(std::string name, const Sizes& s, int top, Draw logits = normal(2.0)) {
  OpCase op = extract_case(std::move(name), s, std::move(logits), tags(1.0));
  op.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    Tensor prototypes(tape.device(), {s.images, s.classes, s.channels});
    tape.device().run(PrototypeExtraction{.dtype = t[0].dtype(),
                                          .features = t[0].raw(),
                                          .logits = t[1].raw(),
                                          .present = t[2].data<uint8_t>(),
                                          .prototypes = prototypes.data<float>(),
                                          .images = s.images,
                                          .positions = static_cast<int>(s.positions()),
                                          .channels = static_cast<int>(s.channels),
                                          .classes = static_cast<int>(s.classes),
                                          .top = top});
    return std::vector{prototypes};
  };
  op.reference = [=](const std::vector<Numbers>& v) { return Outputs{reference(s, top, v)}; };
  return op;
}

/// Logits of one class between 1 and 2, and one far above them: all other activations are small.
Draw with_outlier() {
  return [](const Shape& shape, Random& random) {
    Values values = uniform_between(1.0, 2.0)(shape, random);
    values[values.size() / 2] = 500.0;
    return values;
  };
}

/// One class's activations have an infinite range: none of them is a share of it.
Draw with_infinity() {
  return [](const Shape& shape, Random& random) {
    Values values = normal(2.0)(shape, random);
    values[values.size() / 2] = INFINITY;
    return values;
  };
}

}  // namespace

std::vector<OpCase> prototypes_cases() {
  return {
      extract_case("13x9", {2, 13, 9, 33, 5}),
      extract_case("17x11_of_21_classes", {3, 17, 11, 8, 21}),
      extract_case("255_classes", {1, 7, 5, 3, 255}),
      extract_case("6_channels", {1, 7, 5, 6, 2}),
      extract_case("260_channels", {1, 7, 5, 260, 2}),
      extract_case("1025_channels", {1, 4, 3, 1025, 1}),
      extract_case("33x33", {1, 33, 33, 1, 2}),
      extract_case("96x96", {1, 96, 96, 8, 2}),  // 46 KB of dynamic shared memory, beside static arrays
      extract_case("20640_positions", {1, 129, 160, 8, 1}),  // too many for shared memory
      extract_case("fewer_than_12_positions", {2, 3, 3, 4, 2}),
      extract_case("ties", {2, 13, 9, 5, 3}, whole_numbers(3)),
      extract_case("many_ties", {1, 33, 33, 3, 2}, whole_numbers(3)),
      extract_case("small_activations", {1, 33, 33, 3, 1}, with_outlier()),
      extract_case("all_positions_alike", {1, 7, 5, 5, 2}, always(1.5)),
      extract_case("no_positive_logit", {1, 7, 5, 5, 2}, always(-1.5)),
      extract_case("infinite_logit", {1, 7, 5, 5, 2}, with_infinity(), tags(1.0)),
      extract_case("background_only", {2, 7, 5, 5, 3}, normal(), tags(0.0)),
      extract_case("nothing_present", {2, 7, 5, 5, 3}, normal(), always(0.0)),
      kernel_case("top_1", {2, 7, 5, 5, 3}, 1),
      kernel_case("top_ties", {2, 7, 5, 5, 3}, 10, whole_numbers(4)),
      kernel_case("top_all", {1, 7, 5, 5, 3}, 35, uniform_between(0.5, 2.0)),
      kernel_case("top_0", {1, 7, 5, 5, 3}, 0),
  };
}

}  // namespace scrawl::op_table
