#include "tests/op_cases/check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/op_cases/execute.h"

namespace scrawl::op_table {
namespace {

constexpr int64_t kAllElements = 200;     // gradients of smaller tensors are checked in full
constexpr int64_t kSampledElements = 60;  // of larger ones, besides a direction over all elements

bool learnt(const Input& input) {
  return input.role == Input::Role::data || input.role == Input::Role::parameter;
}

Random random_of(const std::string& name, uint64_t purpose) {
  return Random(std::accumulate(name.begin(), name.end(), uint64_t{1469598103934665603u},
                                [](uint64_t hash, char c) { return (hash ^ c) * 1099511628211u; }),
                purpose);
}

/// As a device stores them.
Values rounded(Values values) {
  for (double& value : values) value = static_cast<float>(value);
  return values;
}

double rms(const Values& values) {
  const double squares = std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
  return values.empty() ? 0.0 : std::sqrt(squares / values.size());
}

void expect_close(const Values& got, const Values& want, double relative, double absolute,
                  const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  const double scale = rms(want);
  int64_t wrong = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double bound = relative * std::max(std::fabs(want[i]), scale) + absolute;
    if (std::fabs(got[i] - want[i]) <= bound) continue;  // false for NaN
    if (++wrong == 1)
      ADD_FAILURE() << what << "[" << i << "]: got " << got[i] << ", want " << want[i] << " within " << bound;
  }
  EXPECT_EQ(wrong, 0) << what << ": elements that are wrong, of " << got.size();
}

/// One case with its drawn inputs and cotangent.
class Check {
 public:
  Check(const OpCase& op, const Device::Options& options, const Tolerance& tolerance)
      : op_(op), options_(options), tolerance_(tolerance) {
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      Random random = random_of(op.name, i);
      inputs_.push_back(rounded(op.inputs[i].draw(op.inputs[i].shape, random)));
      differentiated_.push_back(learnt(op.inputs[i]));
    }
    want_ = op.reference(inputs_);
    if (std::find(differentiated_.begin(), differentiated_.end(), true) == differentiated_.end()) return;
    Random random = random_of(op.name, 1000);
    cotangent_.resize(want_[0].size());
    for (double& value : cotangent_) value = random.normal();
  }

  void run() {
    const Outcome first = pass(1, differentiated_, Slots::empty);
    ASSERT_EQ(first.outputs.size(), want_.size());
    for (size_t i = 0; i < want_.size(); ++i)
      expect_close(first.outputs[i], want_[i], tolerance_.forward * op_.slack, op_.absolute,
                   "output " + std::to_string(i));
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (differentiated_[i]) expect_gradient(i, first.gradients[i]);
    if (::testing::Test::HasFailure()) return;

    expect_same(first, pass(1, differentiated_, Slots::empty), "second run");
    expect_same(first, pass(2, differentiated_, Slots::stale), "two threads, memory there");
    expect_same(first, pass(3, differentiated_, Slots::empty), "three threads");
    if (cotangent_.empty()) return;
    expect_accumulation(first);
    expect_subsets(first);
  }

 private:
  Outcome pass(int threads, std::vector<bool> differentiated, Slots slots,
               const std::vector<Values>& existing = {}) const {
    Device::Options options = options_;
    options.threads = threads;
    // The simulator's turns must not matter either: each number of threads comes with another order.
    options.simt.order = threads == 1   ? simt::Order::forward
                         : threads == 2 ? simt::Order::shuffled
                                        : simt::Order::reverse;
    const Outcome outcome =
        execute(op_, {options, inputs_, std::move(differentiated), cotangent_, slots, existing});
    EXPECT_EQ(outcome.damage, "");
    return outcome;
  }

  /// Derivative of Σ cotangent · output along a direction, by central differences of the reference.
  double numeric(size_t input, const Values& direction, double step) const {
    std::vector<Values> ahead = inputs_, behind = inputs_;
    for (size_t i = 0; i < direction.size(); ++i) {
      ahead[input][i] += step * direction[i];
      behind[input][i] -= step * direction[i];
    }
    const Values a = op_.reference(ahead)[0], b = op_.reference(behind)[0];
    double sum = 0.0;
    for (size_t i = 0; i < a.size(); ++i) sum += cotangent_[i] * (a[i] - b[i]);
    return sum / (2.0 * step);
  }

  /// How far values of an input lie apart: what a step of the differences is measured by.
  double spread(size_t input) const {
    const Values& x = inputs_[input];
    const double mean = std::accumulate(x.begin(), x.end(), 0.0) / x.size();
    double squares = 0.0;
    for (double value : x) squares += (value - mean) * (value - mean);
    return std::max(std::sqrt(squares / x.size()), 0.01);
  }

  void expect_gradient(size_t input, const Values& gradient) const {
    const std::string what = "gradient of " + op_.inputs[input].name;
    const auto n = static_cast<int64_t>(inputs_[input].size());
    ASSERT_EQ(gradient.size(), inputs_[input].size()) << what;
    Random random = random_of(op_.name, 2000 + input);
    Values got, want, direction(n);
    for (int64_t i = 0; i < (n <= kAllElements ? n : kSampledElements); ++i) {
      const int64_t element = n <= kAllElements ? i : random.below(n);
      direction[element] = 1.0;
      want.push_back(numeric(input, direction, 1e-5 * spread(input)));
      got.push_back(gradient[element]);
      direction[element] = 0.0;
    }
    const double relative = tolerance_.backward * op_.slack, absolute = op_.absolute;
    expect_close(got, want, relative, absolute, what + ", some elements");

    double along = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      direction[i] = random.normal();
      along += gradient[i] * direction[i];
      squares += std::pow(gradient[i] * direction[i], 2);
    }
    EXPECT_NEAR(along, numeric(input, direction, 1e-6 * spread(input)),
                relative * std::sqrt(squares) + absolute * std::sqrt(n))
        << what << ", along a direction";
  }

  void expect_same(const Outcome& first, const Outcome& other, const std::string& what) const {
    EXPECT_TRUE(first.outputs == other.outputs) << what << ": other outputs";
    EXPECT_TRUE(first.gradients == other.gradients) << what << ": other gradients";
  }

  void expect_accumulation(const Outcome& first) const {
    std::vector<Values> existing(inputs_.size());
    Random random = random_of(op_.name, 3000);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!differentiated_[i]) continue;
      existing[i].resize(inputs_[i].size());
      const double scale = rms(first.gradients[i]) + 1e-3;
      for (double& value : existing[i]) value = scale * random.normal();
      existing[i] = rounded(existing[i]);
    }
    const Outcome sum = pass(2, differentiated_, Slots::existing, existing);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!differentiated_[i]) continue;
      Values want = existing[i];
      for (size_t j = 0; j < want.size(); ++j) want[j] += first.gradients[i][j];
      expect_close(sum.gradients[i], want, 1e-5, 1e-9,
                   "gradient added to what was there: " + op_.inputs[i].name);
    }
  }

  /// Each data input alone, and the parameters without data: what is constant gets no gradient and changes
  /// nothing for the others.
  void expect_subsets(const Outcome& all) const {
    std::vector<std::vector<bool>> subsets;
    std::vector<bool> parameters(inputs_.size());
    for (size_t i = 0; i < inputs_.size(); ++i) {
      parameters[i] = op_.inputs[i].role == Input::Role::parameter;
      if (op_.inputs[i].role != Input::Role::data) continue;
      subsets.emplace_back(inputs_.size()).at(i) = true;
    }
    if (std::find(parameters.begin(), parameters.end(), true) != parameters.end())
      subsets.push_back(parameters);
    for (const auto& subset : subsets) {
      if (subset == differentiated_) continue;
      const Outcome outcome = pass(1, subset, Slots::empty);
      EXPECT_TRUE(outcome.outputs == all.outputs) << "outputs depend on what is differentiated";
      for (size_t i = 0; i < inputs_.size(); ++i)
        if (subset[i])
          expect_close(outcome.gradients[i], all.gradients[i], 1e-5, 1e-9, "alone: " + op_.inputs[i].name);
    }
  }

  const OpCase& op_;
  const Device::Options options_;
  const Tolerance tolerance_;
  std::vector<Values> inputs_;
  std::vector<bool> differentiated_;
  std::vector<Values> want_;
  Values cotangent_;  // empty when nothing is differentiated
};

}  // namespace

void check(const OpCase& op, const Device::Options& options, const Tolerance& tolerance) {
  Check(op, options, tolerance).run();
}

}  // namespace scrawl::op_table
