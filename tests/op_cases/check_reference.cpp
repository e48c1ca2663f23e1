#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/op_cases/check.h"
#include "tests/op_cases/sample.h"

namespace scrawl::op_table {
namespace {

constexpr int64_t kElements = 3;  // of each input, besides a direction along all of them
constexpr double kTolerance = 1e-6;

double dot(const Values& a, const Values& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

class CheckReference {
 public:
  explicit CheckReference(const OpCase& op) : op_(op), sample_(op, DType::f32) {}

  void run() const {
    for (size_t input = 0; input < op_.inputs.size(); ++input)
      if (sample_.differentiated[input]) expect_gradient(input);
  }

 private:
  void expect_gradient(size_t input) const {
    const auto n = static_cast<int64_t>(sample_.inputs[input].size());
    Random random = random_of(op_, 2000 + input);
    Values direction(n, 0.0);
    for (int64_t i = 0; i < std::min(n, kElements); ++i) {
      const int64_t element = n <= kElements ? i : random.below(n);
      direction[element] = 1.0;
      expect_derivative(input, direction);
      direction[element] = 0.0;
    }
    for (double& value : direction) value = random.normal();
    expect_derivative(input, direction);
  }

  void expect_derivative(size_t input, const Values& direction) const {
    const Values& gradient = sample_.exact.gradients[input];
    const Values& y = sample_.exact.outputs[0];
    const double scale = std::sqrt(dot(gradient, gradient) * dot(direction, direction) / gradient.size());
    const double rounding =
        1e-15 * std::sqrt(dot(y, y) * dot(sample_.cotangent, sample_.cotangent)) / step_of(input);
    EXPECT_NEAR(dot(gradient, direction), numeric_derivative(input, direction),
                kTolerance * scale + rounding + 1e-9)
        << op_.name << ", gradient of " << op_.inputs[input].name;
  }

  /// Measured by how far the values of an input lie apart.
  double step_of(size_t input) const {
    const Values& x = sample_.inputs[input];
    const double mean = std::accumulate(x.begin(), x.end(), 0.0) / x.size();
    return 1e-5 * std::sqrt(std::max(dot(x, x) / x.size() - mean * mean, 1e-4));
  }

  /// Of Σ cotangent · output along a direction of one input, by central differences.
  double numeric_derivative(size_t input, const Values& direction) const {
    const double step = step_of(input);
    std::vector<Values> ahead = sample_.inputs, behind = sample_.inputs;
    for (size_t i = 0; i < direction.size(); ++i) {
      ahead[input][i] += step * direction[i];
      behind[input][i] -= step * direction[i];
    }
    const double change = dot(reference_outputs(op_, ahead)[0], sample_.cotangent) -
                          dot(reference_outputs(op_, behind)[0], sample_.cotangent);
    return change / (2.0 * step);
  }

  const OpCase& op_;
  const Sample sample_;
};

}  // namespace

void check_reference(const OpCase& op) {
  CheckReference(op).run();
}

}  // namespace scrawl::op_table
