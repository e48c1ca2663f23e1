#include "engine/ops.h"
#include "tests/op_cases/draws.h"
#include "tests/op_cases/softmax.h"

namespace scrawl::op_table {
namespace {

/// −Σ softmax(b) · log softmax(softmax(a)), averaged over positions.
Outputs reference(int64_t classes, const std::vector<Numbers>& v) {
  const auto positions = static_cast<int64_t>(v[0].size()) / classes;
  Number loss;
  for (int64_t i = 0; i < positions; ++i) {
    const Numbers a = softmax(&v[0][i * classes], classes), b = softmax(&v[1][i * classes], classes);
    const Numbers twice = log_softmax(a.data(), classes);
    for (int64_t k = 0; k < classes; ++k) loss -= b[k] * twice[k] / positions;
  }
  return {{loss}};
}

OpCase consistency_case(std::string name, const Shape& shape, double scale = 2.0) {
  return {.name = "consistency_" + name,
          .inputs = {{"a", shape, normal(scale)}, {"b", shape, normal(scale)}},
          .run = [](Tape& tape,
                    const std::vector<Tensor>& t) { return std::vector{ops::consistency(tape, t[0], t[1])}; },
          .reference = [=](const std::vector<Numbers>& v) { return reference(shape[-1], v); }};
}

}  // namespace

std::vector<OpCase> consistency_cases() {
  return {
      consistency_case("1x1", {1, 1}),
      consistency_case("2x7x5x2", {2, 7, 5, 2}),
      consistency_case("3x13x9x5", {3, 13, 9, 5}),
      consistency_case("1x17x11x21", {1, 17, 11, 21}),
      consistency_case("33x22", {33, 22}),
      consistency_case("33x30", {33, 30}),
      consistency_case("33x255", {33, 255}),
      consistency_case("1025x3", {1025, 3}),
      consistency_case("2x31x37x5", {2, 31, 37, 5}),
      consistency_case("saturated", {2, 7, 5, 5}, 40.0),
  };
}

}  // namespace scrawl::op_table
