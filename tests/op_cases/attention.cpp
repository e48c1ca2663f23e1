#include <cmath>

#include "engine/ops.h"
#include "tests/op_cases/draws.h"
#include "tests/op_cases/softmax.h"

namespace scrawl::op_table {
namespace {

struct Sizes {
  int64_t images, queries, keys, heads, head_size;
};

/// Products, softmax, products.
Numbers reference(const Sizes& s, const Numbers& q, const Numbers& kv) {
  const int64_t channels = s.heads * s.head_size;
  Numbers y(s.images * s.queries * channels);
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t i = 0; i < s.queries; ++i) {
        const Number* query = &q[(n * s.queries + i) * channels + h * s.head_size];
        Number* out = &y[(n * s.queries + i) * channels + h * s.head_size];
        const auto key = [&](int64_t j) { return &kv[(n * s.keys + j) * 2 * channels + h * s.head_size]; };
        Numbers p;
        for (int64_t j = 0; j < s.keys; ++j) {
          Number score;
          for (int64_t d = 0; d < s.head_size; ++d) score += query[d] * key(j)[d];
          p.push_back(stored(score / std::sqrt(s.head_size)));
        }
        p = softmax(p.data(), s.keys);
        for (int64_t j = 0; j < s.keys; ++j) {
          const Number share = stored(p[j]);
          for (int64_t d = 0; d < s.head_size; ++d) out[d] += share * key(j)[channels + d];
        }
      }
  return y;
}

/// Keys of another kind than the values beside them.
Draw keys_and_values(int64_t channels, Draw keys, Draw values) {
  return [=](const Shape& shape, Random& random) {
    Values drawn = values(shape, random);
    const Values as_keys = keys(shape, random);
    for (size_t i = 0; i < drawn.size(); ++i)
      if (static_cast<int64_t>(i) % (2 * channels) < channels) drawn[i] = as_keys[i];
    return drawn;
  };
}

OpCase attention_case(std::string name, const Sizes& s, double scale = 1.0, double slack = 1.0,
                      double absolute = 1e-9) {
  const int64_t channels = s.heads * s.head_size;
  return {.name = "attention_" + name,
          .inputs = {{"q", {s.images, s.queries, channels}, normal(scale), Input::Role::parameter},
                     {"kv", {s.images, s.keys, 2 * channels}, normal(scale), Input::Role::parameter}},
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                return std::vector{ops::attention(tape, t[0], t[1], static_cast<int>(s.heads))};
              },
          .reference = [=](const std::vector<Numbers>& v) { return Outputs{reference(s, v[0], v[1])}; },
          .slack = slack,
          .absolute = absolute};
}

/// All scores near −130, where a key that does not exist, a zero, would take everything.
OpCase low_scores_case(std::string name, const Sizes& s) {
  OpCase op = attention_case(std::move(name), s, 1.0, 20.0);  // such a score is known to 1e-5 only
  const double mean = std::sqrt(130.0 / std::sqrt(s.head_size));
  op.inputs[0].draw = normal(0.1, mean);
  op.inputs[1].draw = keys_and_values(s.heads * s.head_size, normal(0.1, -mean), normal());
  return op;
}

}  // namespace

std::vector<OpCase> attention_cases() {
  return {
      attention_case("one_of_everything", {1, 1, 1, 1, 1}),
      // No gradient for q: what rounding leaves of a difference.
      attention_case("one_key", {2, 33, 1, 1, 32}, 1.0, 1.0, 1e-5),
      attention_case("35_queries_6_keys", {3, 35, 6, 2, 8}),
      attention_case("132_queries_33_keys", {1, 132, 33, 1, 32}),
      attention_case("260_queries_3_keys_5_heads", {2, 260, 3, 5, 4}),
      attention_case("1025_queries", {1, 1025, 5, 1, 3}),
      attention_case("4500_queries", {1, 4500, 3, 1, 2}),
      attention_case("1025_keys", {1, 3, 1025, 1, 8}),
      // On a GPU, gradients of both come in copies.
      attention_case("132_queries_260_keys", {1, 132, 260, 1, 8}),
      attention_case("260_keys", {1, 5, 260, 2, 16}),
      attention_case("eight_heads_of_64", {1, 33, 12, 8, 64}),
      attention_case("head_size_64", {1, 66, 130, 1, 64}),  // chunks of queries and blocks of keys
      attention_case("head_size_16", {1, 21, 37, 2, 16}),
      attention_case("head_size_33", {2, 17, 11, 3, 33}),
      attention_case("head_size_40", {2, 35, 19, 1, 40}),
      // On a GPU, two or four warps share keys, of which some get none.
      attention_case("33_keys_head_size_64", {2, 35, 33, 1, 64}),
      attention_case("75_keys_head_size_64", {1, 21, 75, 2, 64}),
      attention_case("77_keys_head_size_40", {1, 37, 77, 1, 40}),
      attention_case("137_keys_head_size_24", {1, 17, 137, 1, 24}),
      attention_case("200_keys_head_size_64", {1, 19, 200, 1, 64}),
      attention_case("head_size_96", {1, 21, 27, 1, 96}),
      attention_case("head_size_104", {1, 5, 70, 2, 104}),
      attention_case("head_size_128", {1, 17, 9, 2, 128}),
      // More keys than fit in a GPU's shared memory at once.
      attention_case("streamed_head_size_128", {1, 5, 321, 1, 128}),
      attention_case("streamed_head_size_32", {1, 18, 1033, 1, 32}),
      low_scores_case("low_scores", {2, 33, 21, 2, 32}),
      low_scores_case("low_scores_head_size_12", {2, 33, 21, 2, 12}),
      low_scores_case("low_scores_streamed", {1, 5, 321, 1, 128}),
      low_scores_case("low_scores_100_keys", {1, 17, 100, 1, 64}),
      // Scores beyond ±80: one key takes all, and exp must not overflow.  A score of 100 is known to 1e-5
      // only.
      attention_case("saturated", {1, 33, 33, 2, 32}, 5.5, 20.0),
      attention_case("saturated_100_keys", {1, 17, 100, 1, 32}, 5.5, 20.0),
  };
}

}  // namespace scrawl::op_table
