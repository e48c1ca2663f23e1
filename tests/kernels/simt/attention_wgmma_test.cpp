// Attention backward of heads of 64 values: the form for Hopper and the portable one, against double
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

struct Gradients {
  std::vector<bf16> dq, dkv;
};

/// Operands, and what the gradients are, of two heads an image.
struct Problem {
  AttentionShape shape;
  std::vector<bf16> q, kv, y, dy;
  std::vector<float> log_sum_exp;
  std::vector<double> dq, dkv;

  Problem(int64_t images, int queries, int keys, bool low_scores = false)
      : shape{.images = images, .queries = queries, .keys = keys, .heads = 2, .head_size = kSize},
        y(shape.query_elements()),
        log_sum_exp(images * 2 * queries),
        dq(shape.query_elements()),
        dkv(shape.key_elements()) {
    Random random(7, queries * 1000 + keys);
    // Low scores come from the first values of all queries and keys.
    const auto draw = [&](std::vector<bf16>& values, int64_t count, float first) {
      for (int64_t i = 0; i < count; ++i)
        values.push_back(to_bf16(low_scores && i % kSize == 0 ? first : random.normal()));
    };
    draw(q, shape.query_elements(), 128.0f);
    draw(kv, shape.key_elements(), -8.0f);
    draw(dy, shape.query_elements(), 1.0f);
    for (int64_t image = 0; image < images; ++image)
      for (int head = 0; head < 2; ++head) find_gradients(image, head);
  }

  void find_gradients(int64_t image, int head) {
    const int channels = shape.channels(), keys = shape.keys;
    const double scale = 1.0 / std::sqrt(kSize);
    std::vector<double> p(keys), dp(keys);
    for (int i = 0; i < shape.queries; ++i) {
      const int64_t query = (image * shape.queries + i) * channels + head * kSize;
      const auto key = [&](int j) { return (image * keys + j) * 2 * channels + head * kSize; };
      const auto dot = [](const bf16* a, const bf16* b) {
        double sum = 0.0;
        for (int d = 0; d < kSize; ++d) sum += double{to_float(a[d])} * to_float(b[d]);
        return sum;
      };
      double most = -INFINITY, total = 0.0, mean = 0.0;
      for (int j = 0; j < keys; ++j) most = std::max(most, p[j] = scale * dot(&q[query], &kv[key(j)]));
      for (int j = 0; j < keys; ++j) total += p[j] = std::exp(p[j] - most);
      log_sum_exp[(image * 2 + head) * shape.queries + i] = static_cast<float>(most + std::log(total));
      std::vector<double> out(kSize);
      for (int j = 0; j < keys; ++j) {
        p[j] /= total;
        dp[j] = dot(&dy[query], &kv[key(j) + channels]);
        mean += p[j] * dp[j];
        for (int d = 0; d < kSize; ++d) out[d] += p[j] * to_float(kv[key(j) + channels + d]);
      }
      for (int d = 0; d < kSize; ++d) y[query + d] = to_bf16(static_cast<float>(out[d]));
      for (int j = 0; j < keys; ++j) {
        const double ds = scale * p[j] * (dp[j] - mean);
        for (int d = 0; d < kSize; ++d) {
          dq[query + d] += ds * to_float(kv[key(j) + d]);
          dkv[key(j) + d] += ds * to_float(q[query + d]);
          dkv[key(j) + channels + d] += p[j] * to_float(dy[query + d]);
        }
      }
    }
  }

  AttentionBackward arguments(Gradients& result, bool accumulate) const {
    return {.dtype = DType::bf16,
            .shape = shape,
            .q = q.data(),
            .kv = kv.data(),
            .y = y.data(),
            .log_sum_exp = log_sum_exp.data(),
            .dy = dy.data(),
            .dq = result.dq.data(),
            .dkv = result.dkv.data(),
            .accumulate_dq = accumulate,
            .accumulate_dkv = accumulate};
  }

  Gradients run_on(const Options& options, float before = 0.0f) const {
    Gradients result{std::vector(dq.size(), to_bf16(before)), std::vector(dkv.size(), to_bf16(before))};
    Queue queue(options);
    run(arguments(result, before != 0.0f), queue);
    return result;
  }

  /// By the form for Hopper, in blocks that walk over all queries and have all keys.
  Gradients run_in_whole_heads(const Options& options) const {
    Gradients result{std::vector<bf16>(dq.size()), std::vector<bf16>(dkv.size())};
    Queue queue(options);
    const BackwardSource<bf16> source{arguments(result, false), 1.0f / std::sqrt(float{kSize}), nullptr,
                                      nullptr, nullptr};
    const QueryParts one(kWgmmaBlocks, shape.queries, 64, kWgmmaBlocks);
    launch_attend_backward_wgmma(queue, "attention.backward", source, shape.images * shape.heads, {one, 1});
    return result;
  }
};

bool same(const Gradients& a, const Gradients& b) {
  const auto bits = [](const bf16& x, const bf16& y) { return x.bits == y.bits; };
  return std::equal(a.dq.begin(), a.dq.end(), b.dq.begin(), bits) &&
         std::equal(a.dkv.begin(), a.dkv.end(), b.dkv.begin(), bits);
}

void expect_near(const std::vector<bf16>& got, const std::vector<double>& want, double before,
                 const char* what, double share = 0.01) {
  double most = 0.0, worst = 0.0;
  for (const double value : want) most = std::max(most, std::abs(value + before));
  for (size_t i = 0; i < got.size(); ++i) {
    worst = worse(worst, std::abs(to_float(got[i]) - (want[i] + before)));
  }
  // Rounded once are p and ds before they are summed, y before the mean is, and the result.
  EXPECT_LE(worst, share * most + 1e-3) << what;
}

struct Sizes {
  int queries, keys;
};
void PrintTo(const Sizes& sizes, std::ostream* out) {
  *out << sizes.queries << " queries, " << sizes.keys << " keys";
}

class AttentionForms : public testing::TestWithParam<Sizes> {};

TEST_P(AttentionForms, MatchDoublePrecision) {
  const Problem problem(2, GetParam().queries, GetParam().keys);
  for (const int compute_capability : {80, 90})
    for (const float before : {0.0f, 0.5f}) {
      const Gradients result = problem.run_on({.compute_capability = compute_capability}, before);
      SCOPED_TRACE(compute_capability);
      expect_near(result.dq, problem.dq, before, "dq");
      expect_near(result.dkv, problem.dkv, before, "dkv");
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AttentionForms,
                         testing::Values(Sizes{1, 1}, Sizes{63, 16}, Sizes{64, 64}, Sizes{65, 65},
                                         Sizes{400, 100}, Sizes{130, 128}, Sizes{1, 400}, Sizes{65, 400},
                                         Sizes{200, 129}));

TEST(AttentionWgmma, GivesTheSameBitsInAnyOrder) {
  const Problem problem(1, 321, 100);
  const Gradients first = problem.run_in_whole_heads({});
  expect_near(first.dq, problem.dq, 0.0, "dq");
  expect_near(first.dkv, problem.dkv, 0.0, "dkv");
  for (const Options& options : orders()) EXPECT_TRUE(same(problem.run_in_whole_heads(options), first));
}

/// All scores near −128, where a key that does not exist, a zero, would take everything.  Sums of dS are zero
/// but for roundings, of y above all, which the large values of q and k multiply.
TEST(AttentionWgmma, LeavesOutKeysThatDoNotExist) {
  const Problem problem(1, 70, 37, true);
  const Gradients result = problem.run_on({});
  expect_near(result.dq, problem.dq, 0.0, "dq", 0.2);
  expect_near(result.dkv, problem.dkv, 0.0, "dkv");
}

}  // namespace
}  // namespace scrawl::simt
