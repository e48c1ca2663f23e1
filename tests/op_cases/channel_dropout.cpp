#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

OpCase channel_dropout_case(std::string name, const Shape& x, float rate,
                            Tape::Mode mode = Tape::Mode::train) {
  const int64_t channels = x[3], image = x[1] * x[2] * channels;
  return {
      .name = "channel_dropout_" + name,
      .inputs = {{"x", x, normal(), mode == Tape::Mode::train ? Input::Role::data : Input::Role::constant}},
      .run =
          [=](Tape& tape, const std::vector<Tensor>& t) {
            return std::vector{ops::channel_dropout(tape, t[0], rate)};
          },
      .reference =
          [=](const std::vector<Numbers>& v) {
            const RandomStream random{&kStepState, 0};
            Numbers y = v[0];
            if (mode == Tape::Mode::evaluate) return Outputs{y};
            for (size_t i = 0; i < y.size(); ++i) {
              const uint32_t index = i / image * channels + i % channels;
              y[i] *= random.uniform_at(index) < 1.0f - rate ? 1.0 / (1.0 - rate) : 0.0;
            }
            return Outputs{y};
          },
      .mode = mode};
}

}  // namespace

std::vector<OpCase> channel_dropout_cases() {
  return {
      channel_dropout_case("1x1x1x1", {1, 1, 1, 1}, 0.5f),
      channel_dropout_case("3x7x5x33", {3, 7, 5, 33}, 0.5f),
      channel_dropout_case("2x3x5x260", {2, 3, 5, 260}, 0.1f),
      channel_dropout_case("1x3x1x1025", {1, 3, 1, 1025}, 0.9f),
      channel_dropout_case("2x105x107x3", {2, 105, 107, 3}, 0.5f),
      channel_dropout_case("rate_0", {2, 3, 5, 33}, 0.0f),
      channel_dropout_case("evaluated", {2, 7, 5, 33}, 0.5f, Tape::Mode::evaluate),
  };
}

}  // namespace scrawl::op_table
