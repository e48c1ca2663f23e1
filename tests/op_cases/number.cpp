#include "tests/op_cases/number.h"

#include <limits>
#include <stdexcept>

#include "kernels/bf16.h"

namespace scrawl::op_table {
namespace {

thread_local Trace* current = nullptr;

}  // namespace

double rounded(double value, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return static_cast<float>(value);
    case DType::bf16:
      return to_float(to_bf16(static_cast<float>(value)));
    default:
      return value;
  }
}

Values rounded(Values values, DType dtype) {
  for (double& value : values) value = rounded(value, dtype);
  return values;
}

void Number::remember(const Number& a, double da, const Number& b, double db) {
  place_ = current->add({a.place_, b.place_, da, db, false});
}

Number stored(const Number& x) {
  if (!current || current->storage_ == DType::f32) return x;
  Number y(rounded(x.value(), current->storage_));
  if (x.place_ >= 0) y.place_ = current->add({x.place_, -1, 1.0, 0.0, true});
  return y;
}

Trace::Trace(DType storage) : storage_(storage) {
  if (current) throw std::logic_error("one trace at a time");
  current = this;
}

Trace::~Trace() {
  current = nullptr;
}

int32_t Trace::add(const Node& node) {
  if (nodes_.size() >= std::numeric_limits<int32_t>::max()) throw std::length_error("too long a computation");
  nodes_.push_back(node);
  return static_cast<int32_t>(nodes_.size() - 1);
}

Numbers Trace::variables(const Values& values) {
  Numbers numbers(values.begin(), values.end());
  for (Number& number : numbers) number.place_ = add({-1, -1, 0.0, 0.0, false});
  return numbers;
}

std::vector<Values> Trace::gradients(const Numbers& y, const Values& cotangent,
                                     const std::vector<Numbers>& variables) const {
  Values gradient(nodes_.size(), 0.0);
  for (size_t i = 0; i < y.size(); ++i)
    if (y[i].place_ >= 0) gradient[y[i].place_] += cotangent[i];
  for (size_t i = nodes_.size(); i-- > 0;) {
    const Node& node = nodes_[i];
    const double arriving = node.rounds ? rounded(gradient[i], storage_) : gradient[i];
    if (node.a >= 0) gradient[node.a] += arriving * node.da;
    if (node.b >= 0) gradient[node.b] += arriving * node.db;
  }
  std::vector<Values> result;
  for (const Numbers& numbers : variables) {
    Values& values = result.emplace_back();
    for (const Number& number : numbers)
      if (number.place_ >= 0) values.push_back(gradient[number.place_]);
  }
  return result;
}

}  // namespace scrawl::op_table
