#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

OpCase weighted_sum_case(std::string name, const std::vector<float>& weights) {
  OpCase op{.name = "weighted_sum_" + name};
  for (size_t i = 0; i < weights.size(); ++i)
    op.inputs.push_back({"term " + std::to_string(i), {1}, normal(), Input::Role::constant, DType::f32});
  op.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    std::vector<ops::Term> terms;
    for (size_t i = 0; i < t.size(); ++i) terms.push_back({t[i], weights[i]});
    return std::vector{ops::weighted_sum(tape, terms)};
  };
  op.reference = [=](const std::vector<Numbers>& v) {
    Number sum;
    for (size_t i = 0; i < v.size(); ++i) sum += weights[i] * v[i][0];
    return Outputs{Numbers{sum}};
  };
  return op;
}

}  // namespace

std::vector<OpCase> weighted_sum_cases() {
  return {weighted_sum_case("of_1", {1.0f}), weighted_sum_case("of_2", {1.0f, 0.02f}),
          weighted_sum_case("of_3", {1.0f, 0.01f, 0.03f}),
          weighted_sum_case("of_4", {1.0f, -0.5f, 0.0f, 3.0f})};
}

}  // namespace scrawl::op_table
