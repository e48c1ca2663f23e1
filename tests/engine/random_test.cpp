#include "engine/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/batch_norm_relu.h"
#include "kernels/drop_path.h"

namespace scrawl {
namespace {

// Known answers of the authors' Random123 library, tests/kat_vectors: philox4x32 with 10 rounds.
TEST(Philox, MatchesThePublishedVectors) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, 0xffffffffffffffff),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformNeverReachesOne) {
  EXPECT_EQ(uniform(0u), 0.0f);
  EXPECT_LT(uniform(0xffffffffu), 1.0f);
}

TEST(Random, DependsOnSeedStreamAndIndexAlone) {
  const auto first = [](uint64_t seed, uint64_t stream, uint64_t index) {
    return Random(seed, stream, index).word();
  };
  EXPECT_EQ(first(1, 2, 3), first(1, 2, 3));
  const std::set<uint32_t> different{first(1, 2, 3), first(2, 2, 3), first(1, 3, 3), first(1, 2, 4),
                                     first(1, 2, uint64_t{3} << 32)};
  EXPECT_EQ(different.size(), 5u);
}

TEST(Random, StreamsDoNotShiftIntoEachOther) {
  Random a(1, 0), b(1, 1);
  std::set<uint32_t> words;
  for (int i = 0; i < 1000; ++i) words.insert({a.word(), b.word()});
  EXPECT_GE(words.size(), 1999u);  // two words of 2,000 may meet by chance, no more
}

TEST(Random, BelowStaysInBoundsAndReachesThem) {
  Random random(7, 0);
  std::array<int, 5> counts{};
  for (int i = 0; i < 5000; ++i) {
    const uint64_t value = random.below(5);
    ASSERT_LT(value, 5u);
    ++counts[value];
  }
  for (int count : counts) EXPECT_NEAR(count, 1000, 150);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0u);
  uint64_t largest = 0;
  for (int i = 0; i < 100; ++i) largest = std::max(largest, random.below(~uint64_t{0}));
  EXPECT_GT(largest, uint64_t{1} << 62);
}

TEST(Random, UniformAndNormalHaveTheirMoments) {
  Random random(7, 1);
  double mean = 0.0, normal_mean = 0.0, normal_square = 0.0;
  constexpr int n = 20000;
  for (int i = 0; i < n; ++i) {
    const float u = random.uniform(-2.0f, 4.0f), z = random.normal();
    ASSERT_TRUE(u >= -2.0f && u < 4.0f && std::isfinite(z));
    mean += u / n;
    normal_mean += z / n;
    normal_square += z * z / n;
  }
  EXPECT_NEAR(mean, 1.0, 0.06);
  EXPECT_NEAR(normal_mean, 0.0, 0.035);
  EXPECT_NEAR(normal_square, 1.0, 0.05);
}

TEST(Random, ChanceKeepsItsPromise) {
  Random random(7, 2);
  int hits = 0;
  for (int i = 0; i < 10000; ++i) {
    hits += random.chance(0.25f);
    ASSERT_FALSE(random.chance(0.0f));
    ASSERT_TRUE(random.chance(1.0f));
  }
  EXPECT_NEAR(hits, 2500, 200);
}

TEST(RandomStream, ChangesWithSeedStepStreamAndPlace) {
  StepState state{.seed = 1, .step = 1}, next{.seed = 1, .step = 2}, far{.seed = 1, .step = (1ull << 32) + 1},
      other{.seed = 2, .step = 1};
  const std::set<float> values{RandomStream{&state, 0}.uniform_at(0), RandomStream{&next, 0}.uniform_at(0),
                               RandomStream{&far, 0}.uniform_at(0),   RandomStream{&other, 0}.uniform_at(0),
                               RandomStream{&state, 1}.uniform_at(0), RandomStream{&state, 0}.uniform_at(1)};
  EXPECT_EQ(values.size(), 6u);
}

TEST(ChannelDropout, KeepsTheMeanAndChangesFromStepToStep) {
  int differ = 0;
  double mean = 0.0;
  constexpr int steps = 500, channels = 16;
  std::vector<float> last(channels);
  for (uint64_t step = 0; step < steps; ++step) {
    const StepState state{.seed = 3, .step = step};
    const ChannelDropout dropout{.rate = 0.3f, .random = {&state, 5}};
    for (int c = 0; c < channels; ++c) {
      const float scale = dropout.scale(channels + c);
      EXPECT_TRUE(scale == 0.0f || std::fabs(scale - 1.0f / 0.7f) < 1e-6f);
      mean += scale / (steps * channels);
      differ += scale != last[c];
      last[c] = scale;
    }
  }
  EXPECT_NEAR(mean, 1.0, 0.03);
  EXPECT_NEAR(differ, steps * channels * 2 * 0.3 * 0.7, 200);
}

TEST(DropPath, KeepsTheMeanAndDropsNothingAtRateZero) {
  double mean = 0.0;
  constexpr int steps = 4000;
  for (uint64_t step = 0; step < steps; ++step) {
    const StepState state{.seed = 3, .step = step};
    mean += DropPath{.rate = 0.1f, .random = {&state, 5}}.scale(2) / steps;
    ASSERT_EQ((DropPath{.rate = 0.0f, .random = {&state, 5}}.scale(2)), 1.0f);
  }
  EXPECT_NEAR(mean, 1.0, 0.02);
}

}  // namespace
}  // namespace scrawl
