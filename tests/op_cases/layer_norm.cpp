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
  };
}

}  // namespace scrawl::op_table
