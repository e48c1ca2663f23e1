#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

OpCase residual_case(std::string name, const Shape& x, float rate, Tape::Mode mode = Tape::Mode::train) {
  const auto role = mode == Tape::Mode::train ? Input::Role::data : Input::Role::constant;
  const int64_t elements = x.elements() / x[0];
  return {
      .name = "residual_" + name,
      .inputs = {{"x", x, normal(), role}, {"branch", x, normal(), role}},
      .run = [=](Tape& tape,
                 const std::vector<Tensor>& t) { return std::vector{ops::residual(tape, t[0], t[1], rate)}; },
      .reference =
          [=](const std::vector<Numbers>& v) {
            const RandomStream random{&kStepState, 0};
            Numbers y = v[0];
            for (size_t i = 0; i < y.size(); ++i) {
              const bool drops = mode == Tape::Mode::train && rate > 0.0f;
              const bool kept = !drops || random.uniform_at(i / elements) < 1.0f - rate;
              if (kept) y[i] += stored(v[1][i] / (drops ? 1.0 - rate : 1.0));
            }
            return Outputs{y};
          },
      .mode = mode};
}

}  // namespace

std::vector<OpCase> residual_cases() {
  return {
      residual_case("1x1x1", {1, 1, 1}, 0.0f),
      residual_case("3x33x132", {3, 33, 132}, 0.0f),
      residual_case("2x3x5x1025", {2, 3, 5, 1025}, 0.0f),
      residual_case("2x66001x1", {2, 66001, 1}, 0.0f),
      residual_case("dropped_33x3x5", {33, 3, 5}, 0.5f),
      residual_case("dropped_7x5x260", {7, 5, 260}, 0.1f),
      residual_case("dropped_2x66001x1", {2, 66001, 1}, 0.4f),
      residual_case("evaluated", {33, 3, 5}, 0.5f, Tape::Mode::evaluate),
  };
}

}  // namespace scrawl::op_table
