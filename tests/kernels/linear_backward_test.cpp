// What goes back through a layer of few outputs, over its input and apart from it.
#include "kernels/linear_backward.h"

#include <limits>

#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Sizes {
  int64_t rows, inputs, outputs;
};

/// A layer over noise that ReLU has seen, on a device.
class Layer {
 public:
  Layer(DeviceKind kind, DType dtype, const Sizes& sizes, simt::Order order = simt::Order::forward)
      : device_({.kind = kind, .guard_memory = true, .simt = {.order = order}}),
        dtype_(dtype),
        sizes_(sizes),
        x_(noise(sizes.rows * sizes.inputs, 1)),
        dy_(noise(sizes.rows * sizes.outputs, 2)),
        w_(noise(sizes.outputs * sizes.inputs, 3)) {
    for (float& value : x_) value = std::max(value, 0.0f);
  }

  struct Gradients {
    Values x, w, bias;
  };
  /// Those of the weight and the bias are added to `before`.
  Gradients computed(bool over_x, bool with_bias = true, const Gradients* before = nullptr) {
    const Shape map{sizes_.rows, sizes_.inputs}, matrix{sizes_.outputs, sizes_.inputs},
        outputs{sizes_.outputs};
    const Tensor x = stored(device_, map, dtype_, x_), w = stored(device_, matrix, dtype_, w_),
                 dy = stored(device_, {sizes_.rows, sizes_.outputs}, dtype_, dy_);
    const Tensor dx = over_x ? x : stored(device_, map, dtype_, Values(map.elements(), kNan));
    const Tensor dw = Tensor::from(device_, matrix, before ? before->w : Values(matrix.elements(), kNan));
    const Tensor dbias = Tensor::from(device_, outputs, before ? before->bias : Values(sizes_.outputs, kNan));
    device_.run(RectifiedLinearBackward{.dtype = dtype_,
                                        .rows = sizes_.rows,
                                        .inputs = sizes_.inputs,
                                        .outputs = sizes_.outputs,
                                        .x = x.raw(),
                                        .dy = dy.raw(),
                                        .w = w.raw(),
                                        .dx = dx.raw(),
                                        .dw = dw.data<float>(),
                                        .dbias = with_bias ? dbias.data<float>() : nullptr,
                                        .accumulate = before != nullptr});
    EXPECT_EQ(device_.memory().damage(), "");
    return {loaded(device_, dx), dw.to_host(), dbias.to_host()};
  }
  /// In double.
  Gradients expected() const {
    const auto [rows, inputs, outputs] = sizes_;
    std::vector<double> x(x_.size()), w(w_.size()), bias(outputs);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t output = 0; output < outputs; ++output) {
        const double dy = dy_[row * outputs + output];
        bias[output] += dy;
        for (int64_t i = 0; i < inputs; ++i) {
          const double value = x_[row * inputs + i];
          w[output * inputs + i] += dy * value;
          if (value > 0.0) x[row * inputs + i] += dy * w_[output * inputs + i];
        }
      }
    return {{x.begin(), x.end()}, {w.begin(), w.end()}, {bias.begin(), bias.end()}};
  }
  /// A value of x, of the first row, that it has not had.
  void set(int64_t input, float value) { x_[input] = value; }
  static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

 private:
  Device device_;
  DType dtype_;
  Sizes sizes_;
  Values x_, dy_, w_;
};

void expect_same(const Layer::Gradients& got, const Layer::Gradients& wanted) {
  expect_same_bits(got.x, wanted.x, "dx");
  expect_same_bits(got.w, wanted.w, "dw");
  expect_same_bits(got.bias, wanted.bias, "dbias");
}

using LinearBackwardKernel = KernelTest<Layer, Sizes>;

TEST_P(LinearBackwardKernel, ComputesAllGradients) {
  for_each_storage([&](Layer layer) {
    const Layer::Gradients got = layer.computed(/*over_x=*/false), wanted = layer.expected();
    // dx is rounded to storage, to 2⁻⁹ in bf16; sums of up to 34,000 terms stay below 1e-5 of the largest.
    expect_near(got.x, wanted.x, 4e-3, "dx");
    expect_near(got.w, wanted.w, 1e-5, "dw");
    expect_near(got.bias, wanted.bias, 1e-5, "dbias");
  });
}

TEST_P(LinearBackwardKernel, OverItsInputAsApartFromIt) {
  for_each_storage([&](Layer layer) { expect_same(layer.computed(true), layer.computed(false)); });
}

TEST_P(LinearBackwardKernel, InWhateverOrderThreadsRun) {
  for (const DType dtype : storage_of(kind())) {
    const Layer::Gradients wanted = Layer(kind(), dtype, sizes()).computed(true);
    for (const simt::Order order : orders_of(kind()))
      expect_same(Layer(kind(), dtype, sizes(), order).computed(true), wanted);
  }
}

// On a GPU as in training: warps of all columns, and stages whose memory is used again.
TEST_P(LinearBackwardKernel, ManyRowsByAllWarps) {
  if (sizes().rows != 65) return;  // once for each device
  const Sizes many{2 * 64 * 264 + 65, 256, 2};
  for (const DType dtype : storage_of(kind())) {
    Layer layer(kind(), dtype, many, simt::Order::shuffled);
    const Layer::Gradients got = layer.computed(true), wanted = layer.expected();
    expect_near(got.x, wanted.x, 4e-3, "dx");
    expect_near(got.w, wanted.w, 1e-5, "dw");
    expect_near(got.bias, wanted.bias, 1e-5, "dbias");
  }
}

TEST_P(LinearBackwardKernel, AddsToWhatIsThere) {
  for_each_storage([&](Layer layer) {
    const Layer::Gradients once = layer.computed(true), twice = layer.computed(true, true, &once);
    Layer::Gradients doubled = once;
    for (float& value : doubled.w) value *= 2.0f;
    for (float& value : doubled.bias) value *= 2.0f;
    expect_same(twice, doubled);
  });
}

TEST_P(LinearBackwardKernel, LeavesOutABiasThatNobodyWants) {
  for_each_storage([&](Layer layer) {
    Layer::Gradients wanted = layer.computed(true);
    wanted.bias = Values(wanted.bias.size(), Layer::kNan);
    expect_same(layer.computed(true, /*with_bias=*/false), wanted);
  });
}

TEST_P(LinearBackwardKernel, IsClosedByNanAndZero) {
  for_each_storage([&](Layer layer) {
    for (const float closed : {Layer::kNan, 0.0f, -0.0f}) {
      layer.set(0, closed);
      EXPECT_EQ(layer.computed(true).x[0], 0.0f);
    }
    layer.set(0, 1.0f);
    EXPECT_NE(layer.computed(true).x[0], 0.0f);
  });
}

// Outputs that are no packs, inputs of one warp, of a block and of several, rows of one stage and of several;
// the last three are for products.
INSTANTIATE_TEST_SUITE_P(All, LinearBackwardKernel,
                         ::testing::Combine(::testing::ValuesIn(devices_of_this_build()),
                                            ::testing::Values(Sizes{1, 32, 1}, Sizes{63, 64, 21},
                                                              Sizes{65, 256, 21}, Sizes{130, 288, 4},
                                                              Sizes{64, 768, 32}, Sizes{200, 96, 17},
                                                              Sizes{34000, 32, 3}, Sizes{70, 256, 33},
                                                              Sizes{70, 40, 21}, Sizes{9, 7, 5})),
                         by_device);

}  // namespace
}  // namespace scrawl
