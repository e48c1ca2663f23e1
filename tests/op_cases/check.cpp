#include "tests/op_cases/check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/op_cases/execute.h"
#include "tests/op_cases/sample.h"

namespace scrawl::op_table {
namespace {

// Few roundings tell little of an error's size: smaller tensors are looked at in several samples.
constexpr size_t kPooledElements = 60, kMostSamples = 15;

double rms(const Values& values) {
  const double squares = std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
  return values.empty() ? 0.0 : std::sqrt(squares / values.size());
}

double largest(const Values& values) {
  double result = 0.0;
  for (double value : values) result = std::max(result, std::fabs(value));
  return result;
}

Values difference(Values a, const Values& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

/// How much a value may change, relative to it, when it is stored; nothing for fp32, which tolerances cover.
double rounding_of(DType dtype) {
  return dtype == DType::bf16 ? 0x1p-8 : 0.0;
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

/// One tensor of all samples: what the device gave, and what was to be expected.
struct Comparison {
  std::string what;
  double relative, absolute;  // that fp32 may differ
  DType dtype = DType::f32;
  Values got{}, want{}, naive_errors{};

  void add(const Stored& tensor, const Values& exact, const Values& naive) {
    dtype = tensor.dtype;
    got.insert(got.end(), tensor.values.begin(), tensor.values.end());
    want.insert(want.end(), exact.begin(), exact.end());
    // The naive implementation leaves its results in the same type.
    for (size_t i = 0; i < naive.size(); ++i) naive_errors.push_back(rounded(naive[i], dtype) - exact[i]);
  }

  /// Whether the naive implementation's errors are more than fp32 may have.
  bool has_roundings() const { return rms(naive_errors) > relative * rms(want) + absolute; }

  void expect_accurate() const {
    expect_close(got, want, relative + rounding_of(dtype), absolute + 2.0 * largest(naive_errors), what);
    EXPECT_LE(rms(difference(got, want)), 2.0 * rms(naive_errors) + relative * rms(want) + absolute)
        << what << ": root mean square of errors";
  }
};

class Check {
 public:
  Check(const OpCase& op, const Device::Options& options, DType storage, const Tolerance& tolerance)
      : op_(op), options_(options), storage_(storage), tolerance_(tolerance), sample_(op, storage) {}

  void run() {
    const Outcome first = pass(sample_, 1);
    expect_accurate(first);
    if (::testing::Test::HasFailure()) return;

    expect_same(first, pass(sample_, 1), "second run");
    expect_same(first, pass(sample_, 2, Slots::stale, first.gradients), "two threads, memory there");
    expect_same(first, pass(sample_, 3), "three threads");
    if (sample_.cotangent.empty()) return;
    expect_accumulation(first);
    expect_subsets(first);
  }

 private:
  Outcome pass(const Sample& sample, int threads, Slots slots = Slots::empty,
               const std::vector<Stored>& gradients = {}) const {
    Device::Options options = options_;
    options.threads = threads;
    // The simulator's turns must not matter either: each number of threads comes with another order.
    options.simt.order = threads == 1   ? simt::Order::forward
                         : threads == 2 ? simt::Order::shuffled
                                        : simt::Order::reverse;
    const Outcome outcome = execute(
        op_, {options, storage_, sample.inputs, sample.differentiated, sample.cotangent, slots, gradients});
    EXPECT_EQ(outcome.damage, "");
    return outcome;
  }

  void expect_accurate(const Outcome& first) const {
    std::vector<Comparison> comparisons;
    for (size_t i = 0; i < first.outputs.size(); ++i)
      comparisons.push_back({"output " + std::to_string(i), tolerance_.forward * op_.slack, op_.absolute});
    for (const Input& input : op_.inputs)
      comparisons.push_back({"gradient of " + input.name, tolerance_.backward * op_.slack, op_.absolute});
    add(comparisons, sample_, first);
    const size_t needed = samples(comparisons);
    for (size_t i = 1; i < needed; ++i) {
      const Sample sample(op_, storage_, static_cast<int>(i));
      add(comparisons, sample, pass(sample, 1));
    }
    for (const Comparison& comparison : comparisons) comparison.expect_accurate();
  }

  static size_t samples(const std::vector<Comparison>& of_first) {
    size_t smallest = kPooledElements;
    for (const Comparison& comparison : of_first)
      if (comparison.has_roundings()) smallest = std::min(smallest, comparison.want.size());
    return std::min(kMostSamples, kPooledElements / smallest);
  }

  static void add(std::vector<Comparison>& comparisons, const Sample& sample, const Outcome& outcome) {
    const auto& [exact, naive] = std::tie(sample.exact, sample.naive);
    ASSERT_EQ(outcome.outputs.size(), exact.outputs.size());
    size_t next = 0;
    for (size_t i = 0; i < outcome.outputs.size(); ++i)
      comparisons[next++].add(outcome.outputs[i], exact.outputs[i], naive.outputs[i]);
    for (size_t i = 0; i < outcome.gradients.size(); ++i)
      comparisons[next++].add(outcome.gradients[i], exact.gradients[i], naive.gradients[i]);
  }

  void expect_same(const Outcome& first, const Outcome& other, const std::string& what) const {
    EXPECT_TRUE(first.outputs == other.outputs) << what << ": other outputs";
    EXPECT_TRUE(first.gradients == other.gradients) << what << ": other gradients";
  }

  /// `want`, reached in another way through values of at most `scale`.
  void expect_equivalent(const Stored& got, const Values& want, double scale, const std::string& what) const {
    expect_close(got.values, want, tolerance_.again, 1e-9 + 2.0 * rounding_of(got.dtype) * scale, what);
  }

  void expect_accumulation(const Outcome& first) const {
    std::vector<Stored> existing = first.gradients;
    Random random = random_of(op_, 3000);
    for (Stored& gradient : existing) {
      const double scale = rms(gradient.values) + 1e-3;
      for (double& value : gradient.values) value = rounded(scale * random.normal(), gradient.dtype);
    }
    const Outcome sum = pass(sample_, 2, Slots::existing, existing);
    for (size_t i = 0; i < existing.size(); ++i) {
      const Values& added = first.gradients[i].values;
      Values want = existing[i].values;
      for (size_t j = 0; j < want.size(); ++j) want[j] += added[j];
      expect_equivalent(sum.gradients[i], want, std::max(largest(want), largest(added)),
                        "gradient added to what was there: " + op_.inputs[i].name);
    }
  }

  /// Each data input alone, and the parameters without data: what is constant gets no gradient and changes
  /// nothing for the others.
  void expect_subsets(const Outcome& all) const {
    std::vector<std::vector<bool>> subsets;
    std::vector<bool> parameters(op_.inputs.size());
    for (size_t i = 0; i < op_.inputs.size(); ++i) {
      parameters[i] = op_.inputs[i].role == Input::Role::parameter;
      if (op_.inputs[i].role != Input::Role::data) continue;
      subsets.emplace_back(op_.inputs.size()).at(i) = true;
    }
    if (std::find(parameters.begin(), parameters.end(), true) != parameters.end())
      subsets.push_back(parameters);
    for (const auto& subset : subsets) {
      if (subset == sample_.differentiated) continue;
      Sample sample = sample_;
      sample.differentiated = subset;
      const Outcome outcome = pass(sample, 1);
      EXPECT_TRUE(outcome.outputs == all.outputs) << "outputs depend on what is differentiated";
      for (size_t i = 0; i < subset.size(); ++i)
        if (const Values& want = all.gradients[i].values; subset[i])
          expect_equivalent(outcome.gradients[i], want, largest(want), "alone: " + op_.inputs[i].name);
    }
  }

  const OpCase& op_;
  const Device::Options options_;
  const DType storage_;
  const Tolerance tolerance_;
  const Sample sample_;
};

}  // namespace

void check(const OpCase& op, const Device::Options& options, DType storage, const Tolerance& tolerance) {
  Check(op, options, storage, tolerance).run();
}

}  // namespace scrawl::op_table
