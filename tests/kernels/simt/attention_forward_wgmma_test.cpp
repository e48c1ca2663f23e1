// Attention forward of heads of 64 values: the form for Hopper and the portable one, against double
// precision.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/random.h"
#include "kernels/attention.h"
#include "kernels/bf16.h"
#include "kernels/cuda/attention/wgmma.cuh"
#include "kernels/simt/queue.h"
#include "tests/kernels/simt/broken.h"
#include "tests/worst.h"

namespace scrawl::simt {
namespace {

constexpr int kSize = 64;

struct Result {
  std::vector<bf16> y;
  std::vector<float> log_sum_exp;
};

/// What the first values of queries and keys make of scores: nothing, low ones, or ones that rise from key to
/// key for every other query and fall for the rest.
enum class Scores { normal, low, rising };

/// Operands, and what the results are, of two heads an image.
struct Problem {
  AttentionShape shape;
  std::vector<bf16> q, kv;
  std::vector<double> y, log_sum_exp;

  Problem(int64_t images, int queries, int keys, Scores scores = Scores::normal)
      : shape{.images = images, .queries = queries, .keys = keys, .heads = 2, .head_size = kSize},
        y(shape.query_elements()),
        log_sum_exp(images * 2 * queries) {
    Random random(9, queries * 1000 + keys);
    const auto draw = [&](std::vector<bf16>& values, int64_t count, auto first) {
      for (int64_t i = 0; i < count; ++i)
        values.push_back(to_bf16(scores != Scores::normal && i % kSize == 0 ? first(i) : random.normal()));
    };
    draw(q, shape.query_elements(), [&](int64_t i) {
      return scores == Scores::low ? 128.0f : i / shape.channels() % 2 == 0 ? 8.0f : -8.0f;
    });
    draw(kv, shape.key_elements(), [&](int64_t i) {
      return scores == Scores::low ? -8.0f : 0.25f * static_cast<float>(i / (2 * shape.channels()) % keys);
    });
    for (int64_t image = 0; image < images; ++image)
      for (int head = 0; head < 2; ++head) find_results(image, head);
  }

  void find_results(int64_t image, int head) {
    const int channels = shape.channels(), keys = shape.keys;
    std::vector<double> p(keys);
    for (int i = 0; i < shape.queries; ++i) {
      const int64_t query = (image * shape.queries + i) * channels + head * kSize;
      const auto key = [&](int j) { return (image * keys + j) * 2 * channels + head * kSize; };
      double most = -INFINITY, total = 0.0;
      for (int j = 0; j < keys; ++j) {
        double score = 0.0;
        for (int d = 0; d < kSize; ++d) score += double{to_float(q[query + d])} * to_float(kv[key(j) + d]);
        most = std::max(most, p[j] = score / std::sqrt(kSize));
      }
      for (int j = 0; j < keys; ++j) total += p[j] = std::exp(p[j] - most);
      log_sum_exp[(image * 2 + head) * shape.queries + i] = most + std::log(total);
      for (int j = 0; j < keys; ++j)
        for (int d = 0; d < kSize; ++d) y[query + d] += p[j] / total * to_float(kv[key(j) + channels + d]);
    }
  }

  AttentionForward arguments(Result& result) const {
    result = {std::vector<bf16>(y.size()), std::vector<float>(log_sum_exp.size())};
    return {.dtype = DType::bf16,
            .shape = shape,
            .q = q.data(),
            .kv = kv.data(),
            .y = result.y.data(),
            .log_sum_exp = result.log_sum_exp.data()};
  }

  Result run_on(const Options& options) const {
    Result result;
    Queue queue(options);
    run(arguments(result), queue);
    return result;
  }

  /// By the form for Hopper, in blocks of `groups` warpgroups for `chunks` chunks.
  Result run_in_blocks(const Options& options, int chunks, int groups) const {
    Result result;
    Queue queue(options);
    const ForwardSource<bf16> source{arguments(result), 1.0f / std::sqrt(float{kSize})};
    const auto count = static_cast<unsigned>(ceil_div(shape.queries, 64 * chunks));
    launch_attend_wgmma(queue, "attention.forward", source, shape.images * 2, shape.keys,
                        {.count = count, .chunks = chunks, .groups = groups});
    return result;
  }

  void expect_near(const Result& result) const {
    double most = 0.0, worst = 0.0, worst_sum = 0.0;
    for (const double value : y) most = std::max(most, std::abs(value));
    for (size_t i = 0; i < y.size(); ++i) worst = worse(worst, std::abs(to_float(result.y[i]) - y[i]));
    for (size_t i = 0; i < log_sum_exp.size(); ++i)
      worst_sum = worse(worst_sum, std::abs(result.log_sum_exp[i] - log_sum_exp[i]) /
                                       std::max(1.0, std::abs(log_sum_exp[i])));
    // Rounded once are the shares and the result.
    EXPECT_LE(worst, 0.006 * most);
    EXPECT_LE(worst_sum, 2e-6);
  }
};

bool same(const Result& a, const Result& b) {
  const auto bits = [](const bf16& x, const bf16& y) { return x.bits == y.bits; };
  return std::equal(a.y.begin(), a.y.end(), b.y.begin(), bits) && a.log_sum_exp == b.log_sum_exp;
}

struct Sizes {
  int queries, keys;
};
void PrintTo(const Sizes& sizes, std::ostream* out) {
  *out << sizes.queries << " queries, " << sizes.keys << " keys";
}

class AttentionForwardForms : public testing::TestWithParam<Sizes> {};

TEST_P(AttentionForwardForms, MatchDoublePrecision) {
  const Problem problem(2, GetParam().queries, GetParam().keys);
  for (const int compute_capability : {80, 90}) {
    SCOPED_TRACE(compute_capability);
    problem.expect_near(problem.run_on({.compute_capability = compute_capability}));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AttentionForwardForms,
                         testing::Values(Sizes{1, 1}, Sizes{63, 16}, Sizes{64, 64}, Sizes{65, 97},
                                         Sizes{400, 100}, Sizes{130, 104}, Sizes{130, 105}, Sizes{1, 400},
                                         Sizes{65, 400}, Sizes{200, 128}, Sizes{200, 256}, Sizes{70, 325},
                                         Sizes{17, 1025}));

TEST(AttentionForwardWgmma, GivesTheSameBitsInAnyOrder) {
  for (const int keys : {100, 200, 230}) {
    const Problem problem(1, 321, keys);
    const int chunks = keys <= kFewKeys ? 4 : 2;  // that two warpgroups take
    const Result first = problem.run_in_blocks({}, chunks, 2);
    problem.expect_near(first);
    for (const Options& options : orders())
      EXPECT_TRUE(same(problem.run_in_blocks(options, chunks, 2), first));
  }
}

TEST(AttentionForwardWgmma, GivesTheSameBitsInAnyBlocks) {
  const Problem few(1, 650, 75), many(1, 650, 150);
  const Result first = few.run_in_blocks({}, 1, 1);
  few.expect_near(first);
  for (const int groups : {1, 3, 5}) EXPECT_TRUE(same(few.run_in_blocks({}, 11, groups), first)) << groups;
  const Result of_many = many.run_in_blocks({}, 1, 1);
  many.expect_near(of_many);
  for (const int groups : {2, 3, 4})
    EXPECT_TRUE(same(many.run_in_blocks({}, groups, groups), of_many)) << groups;
}

/// All scores near −128, where a key that does not exist, a zero, would take everything.
TEST(AttentionForwardWgmma, LeavesOutKeysThatDoNotExist) {
  for (const int keys : {37, 100, 117, 140}) {
    SCOPED_TRACE(keys);
    const Problem problem(1, 70, keys, Scores::low);
    problem.expect_near(problem.run_on({}));
  }
}

/// Scores of up to 80, where a panel takes nearly all from those before or leaves nothing to those behind.
TEST(AttentionForwardWgmma, FollowsRisingScores) {
  for (const int keys : {80, 256, 320}) {
    SCOPED_TRACE(keys);
    const Problem problem(1, 70, keys, Scores::rising);
    problem.expect_near(problem.run_on({}));
  }
}

TEST(AttentionForwardWgmma, HasNothingToSumWithoutKeys) {
  const Result result = Problem(1, 70, 0).run_on({});
  for (const bf16& value : result.y) EXPECT_EQ(to_float(value), 0.0f);
  for (const float value : result.log_sum_exp) EXPECT_EQ(value, -INFINITY);
}

TEST(AttentionForwardWgmma, FillsALargeGpuEvenly) {
  // Heads, queries and keys of MiT-B1 at crop 320, batches of 12 and 1.
  const auto blocks = [](int64_t heads, int queries, int keys) {
    const ForwardBlocks made = forward_blocks(heads, queries, keys);
    return std::vector<int64_t>{made.count, made.chunks, made.groups};
  };
  using Made = std::vector<int64_t>;
  EXPECT_EQ(blocks(12, 6400, 100), (Made{10, 10, 5}));
  EXPECT_EQ(blocks(24, 1600, 100), (Made{5, 5, 5}));
  EXPECT_EQ(blocks(60, 400, 100), (Made{2, 4, 4}));
  EXPECT_EQ(blocks(96, 400, 400), (Made{4, 2, 2}));
  EXPECT_EQ(blocks(1, 6400, 100), (Made{100, 1, 1}));
  EXPECT_EQ(blocks(8, 400, 400), (Made{7, 1, 1}));
  EXPECT_EQ(blocks(4, 65536, 1024), (Made{256, 4, 4}));
  EXPECT_EQ(blocks(3, 1, 1), (Made{1, 1, 1}));
}

}  // namespace
}  // namespace scrawl::simt
