#include <numbers>

#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

/// Convolution, then GELU.
Numbers reference(const Shape& shape, const std::vector<Numbers>& v) {
  const int64_t height = shape[1], width = shape[2], channels = shape[3];
  Numbers y;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t row = 0; row < height; ++row)
      for (int64_t column = 0; column < width; ++column)
        for (int64_t c = 0; c < channels; ++c) {
          Number h = v[2][c];
          for (int64_t ky = 0; ky < 3; ++ky)
            for (int64_t kx = 0; kx < 3; ++kx) {
              const int64_t iy = row + ky - 1, ix = column + kx - 1;
              if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
              h += v[0][((n * height + iy) * width + ix) * channels + c] * v[1][(ky * 3 + kx) * channels + c];
            }
          h = stored(h);
          y.push_back(0.5 * h * (1.0 + erf(h / std::numbers::sqrt2)));
        }
  return y;
}

OpCase depthwise_gelu_case(std::string name, const Shape& x, double scale = 1.0) {
  const int64_t channels = x[3];
  return {.name = "depthwise_gelu_" + name,
          .inputs = {{"x", x, normal(scale)},
                     {"weight", {3, 3, channels}, normal(0.4), parameter, DType::f32},
                     {"bias", {channels}, normal(0.5), parameter, DType::f32}},
          .run =
              [](Tape& tape, const std::vector<Tensor>& t) {
                return std::vector{ops::depthwise_gelu(tape, t[0], t[1], t[2])};
              },
          .reference = [=](const std::vector<Numbers>& v) { return Outputs{reference(x, v)}; }};
}

}  // namespace

std::vector<OpCase> depthwise_gelu_cases() {
  return {
      depthwise_gelu_case("1x1x1x1", {1, 1, 1, 1}),
      depthwise_gelu_case("2x7x5x3", {2, 7, 5, 3}),
      depthwise_gelu_case("3x13x9x33", {3, 13, 9, 33}),
      depthwise_gelu_case("1x17x11x132", {1, 17, 11, 132}),
      depthwise_gelu_case("2x5x3x260", {2, 5, 3, 260}),
      depthwise_gelu_case("1x2x3x1025", {1, 2, 3, 1025}),
      depthwise_gelu_case("one_row", {2, 1, 33, 3}),
      depthwise_gelu_case("one_column", {2, 33, 1, 3}),
      depthwise_gelu_case("2x83x5x3", {2, 83, 5, 3}),
      depthwise_gelu_case("2x19x21x40", {2, 19, 21, 40}),
      depthwise_gelu_case("1x3x133x16", {1, 3, 133, 16}),
      depthwise_gelu_case("1x3x133x3", {1, 3, 133, 3}),
      depthwise_gelu_case("5x9x20x8", {5, 9, 20, 8}),
      depthwise_gelu_case("2x11x17x264", {2, 11, 17, 264}),
      depthwise_gelu_case("1x13x80x24", {1, 13, 80, 24}),
      depthwise_gelu_case("3x23x1x16", {3, 23, 1, 16}),
      depthwise_gelu_case("1x3x256x8", {1, 3, 256, 8}),
      depthwise_gelu_case("1x3x257x16", {1, 3, 257, 16}),
      depthwise_gelu_case("large_values", {1, 7, 5, 33}, 10.0),
  };
}

}  // namespace scrawl::op_table
