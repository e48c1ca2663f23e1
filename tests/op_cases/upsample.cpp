#include "engine/ops.h"
#include "tests/op_cases/bilinear.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

OpCase upsample_case(std::string name, const Shape& x, int height, int width, bool align_corners) {
  return {.name = "upsample_" + name + (align_corners ? "_corners" : "_centres"),
          .inputs = {{"x", x, normal()}},
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                return std::vector{ops::upsample(tape, t[0], height, width, align_corners)};
              },
          .reference =
              [=](const std::vector<Numbers>& v) {
                return Outputs{bilinear(v[0], x, height, width, align_corners)};
              },
          .slack = 2.0};  // fp32 knows a source coordinate near 30 to 2e-6 only
}

}  // namespace

std::vector<OpCase> upsample_cases() {
  std::vector<OpCase> cases;
  for (bool align_corners : {false, true})
    for (const OpCase& op : {
             upsample_case("1x1_to_1x1", {1, 1, 1, 1}, 1, 1, align_corners),
             upsample_case("1x1_to_7x5", {2, 1, 1, 33}, 7, 5, align_corners),
             upsample_case("7x5_to_13x9", {3, 7, 5, 3}, 13, 9, align_corners),
             upsample_case("3x2_to_33x17", {2, 3, 2, 21}, 33, 17, align_corners),
             upsample_case("twice_as_large", {1, 5, 3, 132}, 10, 6, align_corners),
             upsample_case("identity", {2, 7, 5, 33}, 7, 5, align_corners),
             upsample_case("13x9_down_to_7x5", {2, 13, 9, 3}, 7, 5, align_corners),
             upsample_case("33x17_down_to_3x2", {1, 33, 17, 1}, 3, 2, align_corners),
             upsample_case("down_to_one_cell", {2, 7, 5, 3}, 1, 1, align_corners),
             upsample_case("up_and_down", {1, 4, 33, 3}, 17, 5, align_corners),
             upsample_case("260_channels", {1, 2, 3, 260}, 5, 4, align_corners),
             upsample_case("1025_channels", {1, 2, 2, 1025}, 3, 3, align_corners),
         })
      cases.push_back(op);
  return cases;
}

}  // namespace scrawl::op_table
