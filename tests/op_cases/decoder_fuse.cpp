#include "engine/ops.h"
#include "tests/op_cases/bilinear.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;
using Maps = std::array<Shape, 4>;  // finest first

/// As published: each level through its linear and up to the finest size, concatenated coarsest first, then
/// the 1×1 convolution.  v holds four maps, four weights, four biases and the fuse weight.
Numbers reference(const Maps& maps, int64_t width, const std::vector<Numbers>& v) {
  const int64_t cells = maps[0].rows();
  Numbers y(cells * width);
  for (int level = 0; level < 4; ++level) {
    const int64_t in = maps[level][3], rows = maps[level].rows();
    Numbers projected(rows * width);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t d = 0; d < width; ++d) {
        Number sum = v[8 + level][d];
        for (int64_t c = 0; c < in; ++c) sum += v[level][r * in + c] * v[4 + level][d * in + c];
        projected[r * width + d] = stored(sum);
      }
    Numbers up =
        bilinear(projected, maps[level].with_last(width), maps[0][1], maps[0][2], /*align_corners=*/false);
    for (Number& value : up) value = stored(value);
    const int64_t column = (3 - level) * width;
    for (int64_t r = 0; r < cells; ++r)
      for (int64_t o = 0; o < width; ++o)
        for (int64_t d = 0; d < width; ++d)
          y[r * width + o] += up[r * width + d] * v[12][o * 4 * width + column + d];
  }
  return y;
}

OpCase decoder_fuse_case(std::string name, const Maps& maps, int64_t width) {
  OpCase op{.name = "decoder_fuse_" + name};
  for (int i = 0; i < 4; ++i) op.inputs.push_back({"map " + std::to_string(i), maps[i], normal()});
  for (int i = 0; i < 4; ++i)
    op.inputs.push_back(
        {"weight " + std::to_string(i), {width, maps[i][3]}, normal(0.5), parameter, DType::f32});
  for (int i = 0; i < 4; ++i)
    op.inputs.push_back({"bias " + std::to_string(i), {width}, normal(), parameter, DType::f32});
  op.inputs.push_back({"fuse", {width, 4 * width}, normal(0.5), parameter, DType::f32});
  op.run = [](Tape& tape, const std::vector<Tensor>& t) {
    const auto products = ops::decoder_products(tape.device(), {t[4], t[5], t[6], t[7]},
                                                {t[8], t[9], t[10], t[11]}, t[12], t[0].dtype());
    return std::vector{ops::decoder_fuse(tape, {t[0], t[1], t[2], t[3]}, products)};
  };
  op.reference = [=](const std::vector<Numbers>& v) { return Outputs{reference(maps, width, v)}; };
  op.slack = 2.0;  // its products of products come from the order of the sums that makes it fast
  return op;
}

}  // namespace

std::vector<OpCase> decoder_fuse_cases() {
  return {
      decoder_fuse_case("13x9", {Shape{2, 13, 9, 3}, {2, 7, 5, 5}, {2, 4, 3, 7}, {2, 4, 3, 9}}, 8),
      decoder_fuse_case("width_33", {Shape{1, 7, 5, 8}, {1, 4, 3, 1}, {1, 2, 2, 3}, {1, 2, 2, 33}}, 33),
      decoder_fuse_case("width_1", {Shape{3, 13, 9, 4}, {3, 7, 5, 4}, {3, 4, 3, 4}, {3, 4, 3, 4}}, 1),
      decoder_fuse_case("one_cell", {Shape{1, 1, 1, 3}, {1, 1, 1, 3}, {1, 1, 1, 3}, {1, 1, 1, 3}}, 3),
      decoder_fuse_case("wide_map", {Shape{1, 3, 3, 3}, {1, 2, 2, 3}, {1, 1, 1, 132}, {1, 1, 1, 260}}, 16),
      decoder_fuse_case("wide_rows", {Shape{1, 5, 101, 2}, {1, 3, 51, 2}, {1, 2, 26, 2}, {1, 2, 26, 3}}, 8),
      decoder_fuse_case("width_72", {Shape{1, 5, 6, 2}, {1, 3, 3, 2}, {1, 2, 2, 2}, {1, 1, 2, 3}}, 72),
  };
}

}  // namespace scrawl::op_table
