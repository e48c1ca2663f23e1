#include "tests/op_cases/draws.h"

#include <utility>

namespace scrawl::op_table {
namespace {

/// Every value drawn alike, independent of its place.
template <typename One>
Draw each(One one) {
  return [one](const Shape& shape, Random& random) {
    Values values(shape.elements());
    for (double& value : values) value = one(random);
    return values;
  };
}

}  // namespace

Draw normal(double scale, double mean) {
  return each([=](Random& random) { return mean + scale * random.normal(); });
}

Draw uniform_between(double low, double high) {
  return each([=](Random& random) { return low + (high - low) * random.uniform(); });
}

Draw away_from_zero() {
  return each([](Random& random) {
    const double x = random.normal();
    return x < 0 ? x - 0.05 : x + 0.05;
  });
}

Draw whole_numbers(int bound) {
  return each([=](Random& random) { return static_cast<double>(random.below(bound)); });
}

Draw always(double value) {
  return each([=](Random&) { return value; });
}

Draw exactly(Values values) {
  return [values = std::move(values)](const Shape&, Random&) { return values; };
}

Draw labels(int classes, double unlabelled) {
  return each([=](Random& random) {
    return random.uniform() < unlabelled ? 255.0 : static_cast<double>(random.below(classes));
  });
}

Draw tags(double share) {
  return [=](const Shape& shape, Random& random) {
    Values values(shape.elements());
    for (size_t i = 0; i < values.size(); ++i) values[i] = i % shape[-1] == 0 || random.uniform() < share;
    return values;
  };
}

}  // namespace scrawl::op_table
