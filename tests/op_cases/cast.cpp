#include "kernels/cast.h"

#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

/// To fp32 and back: both directions, both ways.
OpCase there_and_back_case(std::string name, int64_t elements) {
  return {.name = "cast_" + name,
          .inputs = {{"x", {elements}, normal()}},
          .run =
              [](Tape& tape, const std::vector<Tensor>& t) {
                return std::vector{ops::cast(tape, ops::cast(tape, t[0], DType::f32), t[0].dtype())};
              },
          .reference = [](const std::vector<Numbers>& v) { return Outputs{v[0]}; }};
}

OpCase kernel_case(std::string name, int64_t elements, std::optional<DType> from, std::optional<DType> to,
                   bool accumulate) {
  return {.name = "cast_" + name,
          .inputs = {{"x", {elements}, normal(), constant, from}, {"y", {elements}, normal(), state, to}},
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                tape.device().run(Cast{.from = t[0].dtype(),
                                       .to = t[1].dtype(),
                                       .x = t[0].raw(),
                                       .y = t[1].raw(),
                                       .elements = elements,
                                       .accumulate = accumulate});
                return std::vector{t[1]};
              },
          .reference =
              [=](const std::vector<Numbers>& v) {
                Numbers y = v[0];
                for (int64_t i = 0; i < elements && accumulate; ++i) y[i] += v[1][i];
                return Outputs{y};
              }};
}

}  // namespace

std::vector<OpCase> cast_cases() {
  return {
      there_and_back_case("1", 1),
      there_and_back_case("1025", 1025),
      kernel_case("down_33", 33, DType::f32, {}, false),
      kernel_case("down_onto_1025", 1025, DType::f32, {}, true),
      kernel_case("up_33", 33, {}, DType::f32, false),
      kernel_case("up_onto_1025", 1025, {}, DType::f32, true),
  };
}

}  // namespace scrawl::op_table
