#include "engine/ops.h"

#include <gtest/gtest.h>

namespace scrawl {
namespace {

// What every operation computes is checked by the table (op_table_test.cpp); here is what has no reference.

class OpsTest : public ::testing::Test {
 protected:
  Tensor of(const Shape& shape) { return Tensor::zeros(device_, shape); }
  Tensor bytes(const Shape& shape) { return Tensor::zeros(device_, shape, DType::u8); }

  /// The call is refused with a message that shows `part`.
  template <typename Call>
  void expect_refused(Call call, const std::string& part) {
    try {
      call();
      ADD_FAILURE() << "accepted, expected: " << part;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  Device device_{{.threads = 1, .guard_memory = true}};
  Tape tape_{device_, Tape::Mode::train};
};

TEST_F(OpsTest, RefuseShapesThatDoNotFitAndShowThem) {
  expect_refused([&] { ops::linear(tape_, of({3, 4}), of({2, 5}), {}); }, "[2, 5]");
  expect_refused([&] { ops::linear_add_relu(tape_, of({3, 4}), of({2, 4}), {}, of({2, 3})); }, "[2, 3]");
  expect_refused([&] { ops::linear_add_relu(tape_, of({3, 4}), of({2, 4}), {}, {}); }, "no addend");
  expect_refused([&] { ops::layer_norm(tape_, of({3, 4}), of({5}), of({4}), 1e-5f); }, "[5]");
  expect_refused(
      [&] {
        ops::convolution(tape_, of({1, 4, 4, 3}), of({2, 3, 3, 5}), of({2}), 1, 1);
      },
      "[2, 3, 3, 5]");
  expect_refused([&] { ops::depthwise_gelu(tape_, of({1, 4, 4, 3}), of({3, 3, 4}), of({3})); }, "[3, 3, 4]");
  expect_refused([&] { ops::attention(tape_, of({1, 4, 6}), of({1, 2, 6}), 2); }, "[1, 2, 6]");
  expect_refused([&] { ops::attention(tape_, of({1, 4, 6}), of({1, 2, 12}), 4); }, "4 heads");
  expect_refused(
      [&] {
        ops::residual_norm(tape_, of({1, 4}), {of({4, 1})}, 0.0f, of({4}), of({4}), 1e-5f);
      },
      "[4, 1]");
  expect_refused(
      [&] {
        ops::residual_norm(tape_, of({1, 4}), {of({1, 4})}, 0.0f, of({4}), of({3}), 1e-5f);
      },
      "[3]");
  expect_refused(
      [&] {
        ops::norm_pair(tape_, of({3, 4}), {of({4}), of({4}), 1e-5f}, {of({4}), of({5}), 1e-5f});
      },
      "[5]");
  expect_refused(
      [&] {
        ops::batch_norm_relu(tape_, of({1, 1, 3, 4}), of({4}), of({4}), of({4}), of({3}), 1e-5f, 0.1f, 0.1f);
      },
      "[3]");
  expect_refused(
      [&] {
        ops::prototype_attention(tape_, of({2, 5, 4}), of({2, 3, 5}), bytes({2, 3}));
      },
      "[2, 3, 5]");
  expect_refused(
      [&] {
        ops::partial_cross_entropy(tape_, of({1, 2, 2, 3}), ops::count_labelled(bytes({2, 4, 4})));
      },
      "[2, 4, 4]");
  expect_refused([&] { ops::consistency(tape_, of({2, 3}), of({3, 2})); }, "[3, 2]");
  expect_refused(
      [&] {
        ops::extract_prototypes(of({1, 2, 2, 4}), of({1, 2, 3, 5}), bytes({1, 5}));
      },
      "[1, 2, 3, 5]");
}

TEST_F(OpsTest, AttentionWantsBothSidesDifferentiatedOrNeither) {
  Tensor q = of({1, 3, 4});
  q.set_gradient(std::make_shared<Gradient>());
  expect_refused([&] { ops::attention(tape_, q, of({1, 2, 8}), 1); }, "both or neither");
  expect_refused(
      [&] {
        ops::prototype_attention(tape_, q, of({1, 2, 4}), bytes({1, 2}));
      },
      "both or neither");
}

TEST_F(OpsTest, RefuseATensorOfAnotherType) {
  expect_refused([&] { ops::count_labelled(of({1, 4, 4})); }, "f32");
}

}  // namespace
}  // namespace scrawl
