#include "engine/ops.h"
#include "tests/op_cases/draws.h"
#include "tests/op_cases/normalised.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

OpCase layer_norm_case(std::string name, const Shape& x, float eps, Draw draw = normal(2.0, 0.5),
                       double slack = 1.0, double absolute = 1e-9) {
  const int64_t channels = x[-1];
  return {
      .name = "layer_norm_" + name,
      .inputs = {{"x", x, draw},
                 {"gamma", {channels}, normal(0.5, 1.0), parameter, DType::f32},
                 {"beta", {channels}, normal(), parameter, DType::f32}},
      .run =
          [=](Tape& tape, const std::vector<Tensor>& t) {
            return std::vector{ops::layer_norm(tape, t[0], t[1], t[2], eps)};
          },
      .reference = [=](const std::vector<Numbers>& v) { return Outputs{normalised(v[0], v[1], v[2], eps)}; },
      .slack = slack,
      .absolute = absolute};
}

/// A linear layer behind a norm, as keys and values behind a spatial reduction: its input gradient is left to
/// the norm's kernel.
OpCase normed_layer_case(std::string name, int64_t rows, int64_t channels, int64_t out, bool frozen) {
  constexpr float kEps = 1e-5f;
  const Input::Role role = frozen ? constant : parameter;
  return {
      .name = "layer_norm_and_linear_" + name,
      .inputs = {{"x", {rows, channels}, normal(2.0, 0.5)},
                 {"gamma", {channels}, normal(0.5, 1.0), role, DType::f32},
                 {"beta", {channels}, normal(), role, DType::f32},
                 {"weight", {out, channels}, normal(), parameter},
                 {"bias", {out}, normal(), parameter}},
      .run =
          [=](Tape& tape, const std::vector<Tensor>& t) {
            return std::vector{ops::linear(tape, ops::layer_norm(tape, t[0], t[1], t[2], kEps), t[3], t[4])};
          },
      .reference =
          [=](const std::vector<Numbers>& v) {
            const Numbers normed = normalised(v[0], v[1], v[2], kEps);
            Numbers y(rows * out);
            for (int64_t r = 0; r < rows; ++r)
              for (int64_t o = 0; o < out; ++o) {
                Number& sum = y[r * out + o] = v[4][o];
                for (int64_t i = 0; i < channels; ++i)
                  sum += stored(normed[r * channels + i]) * v[3][o * channels + i];
              }
            return Outputs{y};
          }};
}

}  // namespace

std::vector<OpCase> layer_norm_cases() {
  return {
      // No gradient for x: what rounding leaves of a difference, times 1/√eps.
      layer_norm_case("1x1", {1, 1}, 1e-5f, normal(), 1.0, 1e-4),
      layer_norm_case("33x3", {33, 3}, 1e-6f),
      layer_norm_case("132x33", {132, 33}, 1e-6f),
      layer_norm_case("3x7x132", {3, 7, 132}, 1e-5f),
      layer_norm_case("2x3x5x260", {2, 3, 5, 260}, 1e-6f),
      // Rows of whole packs, by the ways in which a GPU's lanes share them.
      layer_norm_case("2x35x64", {2, 35, 64}, 1e-6f),
      layer_norm_case("9x256", {9, 256}, 1e-6f),
      layer_norm_case("3x7x264", {3, 7, 264}, 1e-6f),
      layer_norm_case("9x320", {9, 320}, 1e-6f),
      layer_norm_case("9x512", {9, 512}, 1e-6f),
      layer_norm_case("3x1025", {3, 1025}, 1e-6f),
      layer_norm_case("1025x3", {1025, 3}, 1e-5f),
      layer_norm_case("2x1025x33", {2, 1025, 33}, 1e-6f),
      layer_norm_case("constant_rows", {3, 33}, 1e-5f, always(0.75)),
      // The mean itself is only known to 6e-5 in fp32; one-pass variance would be off by a tenth.
      layer_norm_case("mean_1449", {33, 132}, 1e-6f, normal(1.0, 1449.0), 20.0),
      normed_layer_case("35x33_to_7", 35, 33, 7, false),
      normed_layer_case("frozen_35x33_to_7", 35, 33, 7, true),
      normed_layer_case("frozen_100x64_to_128", 100, 64, 128, true),
      normed_layer_case("frozen_70x128_to_64", 70, 128, 64, true),
      normed_layer_case("9x64_to_40", 9, 64, 40, false),
  };
}

}  // namespace scrawl::op_table
