#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

struct Geometry {
  int64_t images, height, width, channels, out;
  int kernel, stride, padding;
};

Numbers reference(const Geometry& g, const std::vector<Numbers>& v) {
  const int64_t out_height = (g.height + 2 * g.padding - g.kernel) / g.stride + 1;
  const int64_t out_width = (g.width + 2 * g.padding - g.kernel) / g.stride + 1;
  Numbers y;
  for (int64_t n = 0; n < g.images; ++n)
    for (int64_t oy = 0; oy < out_height; ++oy)
      for (int64_t ox = 0; ox < out_width; ++ox)
        for (int64_t o = 0; o < g.out; ++o) {
          Number sum = v[2][o];
          for (int ky = 0; ky < g.kernel; ++ky)
            for (int kx = 0; kx < g.kernel; ++kx) {
              const int64_t iy = oy * g.stride + ky - g.padding, ix = ox * g.stride + kx - g.padding;
              if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
              const Number* x = &v[0][((n * g.height + iy) * g.width + ix) * g.channels];
              const Number* w = &v[1][((o * g.kernel + ky) * g.kernel + kx) * g.channels];
              for (int64_t c = 0; c < g.channels; ++c) sum += x[c] * w[c];
            }
          y.push_back(sum);
        }
  return y;
}

OpCase convolution_case(std::string name, const Geometry& g) {
  return {.name = "convolution_" + name,
          .inputs = {{"x", {g.images, g.height, g.width, g.channels}, normal()},
                     {"weight", {g.out, g.kernel, g.kernel, g.channels}, normal(), parameter},
                     {"bias", {g.out}, normal(), parameter}},
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                return std::vector{ops::convolution(tape, t[0], t[1], t[2], g.stride, g.padding)};
              },
          .reference = [=](const std::vector<Numbers>& v) { return Outputs{reference(g, v)}; }};
}

}  // namespace

std::vector<OpCase> convolution_cases() {
  return {
      // Patch embeddings of the first and later stages, over maps that the stride does not divide.
      convolution_case("embed_7x7_stride_4", {2, 17, 11, 3, 33, 7, 4, 3}),
      convolution_case("embed_7x7_stride_4_of_33x37", {1, 33, 37, 3, 3, 7, 4, 3}),
      convolution_case("embed_3x3_stride_2", {3, 13, 9, 5, 33, 3, 2, 1}),
      convolution_case("embed_3x3_stride_2_even", {1, 8, 6, 33, 3, 3, 2, 1}),
      convolution_case("embed_3x3_stride_1", {2, 7, 5, 33, 3, 3, 1, 1}),
      convolution_case("image_smaller_than_kernel", {2, 2, 3, 3, 5, 7, 4, 3}),
      convolution_case("one_cell", {1, 1, 1, 1, 1, 3, 1, 1}),
      convolution_case("wide_input", {1, 3, 3, 260, 3, 3, 1, 1}),
      convolution_case("wide_output", {1, 3, 3, 3, 1025, 3, 2, 1}),
      // Many channels, in tiles of 2 × 2 that cross the border.
      convolution_case("many_channels", {2, 5, 7, 128, 144, 3, 1, 1}),
      convolution_case("many_channels_even", {1, 4, 6, 144, 128, 3, 1, 1}),
      // Spatial reductions: cells that do not fill a window are left out.
      convolution_case("reduce_8", {2, 17, 11, 3, 33, 8, 8, 0}),
      convolution_case("reduce_4", {3, 13, 9, 33, 3, 4, 4, 0}),
      convolution_case("reduce_2", {1, 7, 5, 132, 3, 2, 2, 0}),
      convolution_case("reduce_exactly", {2, 8, 4, 3, 3, 4, 4, 0}),
      convolution_case("1x1", {2, 7, 5, 33, 21, 1, 1, 0}),
      // Channels in whole packs: patches are read where they lie.  Tiles that are not full, of each size,
      // and positions in parts.
      convolution_case("packs_embed_3x3_stride_2", {2, 13, 9, 24, 72, 3, 2, 1}),
      convolution_case("packs_embed_3x3_stride_1", {1, 7, 5, 16, 40, 3, 1, 1}),
      // Maps that the stride divides, in windows of 8 × 8 and of 6 × 8 positions, and several of them.
      convolution_case("packs_embed_3x3_stride_2_even", {3, 12, 16, 24, 72, 3, 2, 1}),
      convolution_case("packs_embed_3x3_stride_2_windows", {1, 20, 44, 72, 24, 3, 2, 1}),
      convolution_case("packs_reduce_8", {2, 17, 11, 64, 64, 8, 8, 0}),
      convolution_case("packs_reduce_4", {3, 16, 12, 32, 136, 4, 4, 0}),
      convolution_case("packs_reduce_2", {3, 20, 14, 48, 80, 2, 2, 0}),
      convolution_case("packs_between_cells", {2, 9, 11, 16, 24, 2, 3, 1}),  // cells that no patch sees
      convolution_case("packs_many_positions", {1, 46, 46, 8, 8, 3, 1, 1}),
      convolution_case("pairs_embed_7x7_stride_4", {2, 33, 40, 3, 64, 7, 4, 3}),
      convolution_case("pairs_embed_7x7_stride_2", {3, 9, 8, 3, 40, 7, 2, 2}),
      convolution_case("packs_many_outputs", {1, 2, 4, 16, 5640, 2, 2, 0}),
      convolution_case("packs_very_many_outputs", {1, 2, 4, 8, 11272, 2, 2, 0}),
      convolution_case("packs_many_terms", {1, 4, 8, 352, 40, 4, 4, 0}),
      convolution_case("packs_many_terms_and_outputs", {1, 4, 8, 352, 72, 4, 4, 0}),
      convolution_case("packs_very_many_weights", {1, 3, 4, 264, 232, 3, 1, 1}),  // in columns
      convolution_case("several_tiles", {2, 65, 47, 5, 3, 3, 2, 1}),
      convolution_case("several_tiles_stride_1", {1, 33, 37, 3, 4, 3, 1, 1}),
      convolution_case("several_tiles_reduced", {3, 65, 47, 2, 3, 2, 2, 0}),
  };
}

}  // namespace scrawl::op_table
