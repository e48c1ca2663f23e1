#include "tests/op_cases/sample.h"

#include <numeric>

namespace scrawl::op_table {
namespace {

Numbers constants(const Values& values) {
  return {values.begin(), values.end()};
}

std::vector<Values> values_of(const Outputs& outputs) {
  std::vector<Values> values;
  for (const Numbers& output : outputs)
    for (Values& last = values.emplace_back(); const Number& number : output) last.push_back(number.value());
  return values;
}

}  // namespace

Random random_of(const OpCase& op, uint64_t purpose) {
  return Random(std::accumulate(op.name.begin(), op.name.end(), uint64_t{1469598103934665603u},
                                [](uint64_t hash, char c) { return (hash ^ c) * 1099511628211u; }),
                purpose);
}

std::vector<Values> reference_outputs(const OpCase& op, const std::vector<Values>& inputs) {
  std::vector<Numbers> numbers;
  for (const Values& input : inputs) numbers.push_back(constants(input));
  return values_of(op.reference(numbers));
}

Sample::Sample(const OpCase& op, DType storage, int n) {
  const uint64_t stream = 10000 * static_cast<uint64_t>(n);
  bool any = false;
  for (const Input& input : op.inputs) {
    Random random = random_of(op, stream + inputs.size());
    inputs.push_back(rounded(input.draw(input.shape, random), input.dtype.value_or(storage)));
    differentiated.push_back(input.role == Input::Role::data || input.role == Input::Role::parameter);
    any |= differentiated.back();
  }
  if (any) {
    Random random = random_of(op, stream + 1000);
    cotangent.resize(reference_outputs(op, inputs)[0].size());
    for (double& value : cotangent) value = rounded(random.normal(), storage);
  }
  exact = evaluate(op, DType::f32);
  naive = storage == DType::f32 ? exact : evaluate(op, storage);
}

Evaluation Sample::evaluate(const OpCase& op, DType storage) const {
  Trace trace(storage);
  std::vector<Numbers> numbers;
  for (size_t i = 0; i < inputs.size(); ++i)
    numbers.push_back(differentiated[i] ? trace.variables(inputs[i]) : constants(inputs[i]));
  const Outputs outputs = op.reference(numbers);
  return {values_of(outputs), trace.gradients(outputs[0], cotangent, numbers)};
}

}  // namespace scrawl::op_table
