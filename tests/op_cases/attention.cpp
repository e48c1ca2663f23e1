#include <algorithm>
#include <cmath>

#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

struct Sizes {
  int64_t images, queries, keys, heads, head_size;
};

Values reference(const Sizes& s, const Values& q, const Values& kv) {
  const int64_t channels = s.heads * s.head_size;
  Values y(s.images * s.queries * channels, 0.0);
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t i = 0; i < s.queries; ++i) {
        const double* query = &q[(n * s.queries + i) * channels + h * s.head_size];
        double* out = &y[(n * s.queries + i) * channels + h * s.head_size];
        const auto key = [&](int64_t j) { return &kv[(n * s.keys + j) * 2 * channels + h * s.head_size]; };
        Values p(s.keys, 0.0);
        for (int64_t j = 0; j < s.keys; ++j)
          for (int64_t d = 0; d < s.head_size; ++d) p[j] += query[d] * key(j)[d] / std::sqrt(s.head_size);
        const double largest = *std::max_element(p.begin(), p.end());
        double total = 0.0;
        for (double& score : p) total += score = std::exp(score - largest);
        for (int64_t j = 0; j < s.keys; ++j)
          for (int64_t d = 0; d < s.head_size; ++d) out[d] += p[j] / total * key(j)[channels + d];
      }
  return y;
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
          .reference = [=](const std::vector<Values>& v) { return Outputs{reference(s, v[0], v[1])}; },
          .slack = slack,
          .absolute = absolute};
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
      attention_case("260_keys", {1, 5, 260, 2, 16}),
      attention_case("eight_heads_of_64", {1, 33, 12, 8, 64}),
      attention_case("head_size_33", {2, 17, 11, 3, 33}),
      // Scores beyond ±80: one key takes all, and exp must not overflow.  A score of 100 is known to 1e-5
      // only.
      attention_case("saturated", {1, 33, 33, 2, 32}, 5.5, 20.0),
  };
}

}  // namespace scrawl::op_table
