// What the backward kernel yields beside gradients: y once more, and the sum of dx.
#include "kernels/depthwise_gelu.h"

#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Sizes {
  int64_t images;
  int height, width, channels;
  Shape map() const { return {images, height, width, channels}; }
};
void PrintTo(const Sizes& sizes, std::ostream* out) {
  *out << sizes.map().text();
}

struct Inputs {
  Values x, w, bias, dy;
};
Inputs drawn(const Sizes& sizes) {
  const int64_t elements = sizes.map().elements();
  return {noise(elements, 1), noise(9 * sizes.channels, 2), noise(sizes.channels, 3), noise(elements, 4)};
}

/// What is asked for; what is added to holds ones.
struct Wanted {
  bool dx = true, parameters = true, y = true, dx_sum = true;
  bool accumulate_dx = false, accumulate_parameters = false, accumulate_dx_sum = false;
};

struct Results {
  Values forward;  // y of the forward pass
  Values y, dx, dw, dbias, dx_sum;
};

class Case {
 public:
  Case(DeviceKind kind, DType dtype, const Sizes& sizes) : kind_(kind), dtype_(dtype), sizes_(sizes) {}

  Results run(const Inputs& inputs, const Wanted& wanted, simt::Order order = simt::Order::forward) const {
    Device device({.kind = kind_, .threads = 2, .guard_memory = true, .simt = {.order = order}});
    const Shape map = sizes_.map(), taps{3, 3, sizes_.channels}, channels{sizes_.channels};
    const Tensor x = stored(device, map, dtype_, inputs.x), dy = stored(device, map, dtype_, inputs.dy);
    const Tensor w = Tensor::from(device, taps, inputs.w), bias = Tensor::from(device, channels, inputs.bias);
    const auto ones = [&](bool there, const Shape& shape, DType dtype) {
      return there ? stored(device, shape, dtype, Values(shape.elements(), 1.0f)) : Tensor();
    };
    const Tensor forward = ones(true, map, dtype_), y = ones(wanted.y, map, dtype_);
    const Tensor dx = ones(wanted.dx, map, dtype_), dx_sum = ones(wanted.dx_sum, channels, DType::f32);
    const Tensor dw = ones(wanted.parameters, taps, DType::f32);
    const Tensor dbias = ones(wanted.parameters, channels, DType::f32);
    const auto floats = [](const Tensor& t) { return static_cast<float*>(t.raw()); };
    device.run(DepthwiseGeluForward{.dtype = dtype_,
                                    .x = x.raw(),
                                    .w = floats(w),
                                    .bias = floats(bias),
                                    .y = forward.raw(),
                                    .images = sizes_.images,
                                    .height = sizes_.height,
                                    .width = sizes_.width,
                                    .channels = sizes_.channels});
    device.run(DepthwiseGeluBackward{.dtype = dtype_,
                                     .x = x.raw(),
                                     .w = floats(w),
                                     .bias = floats(bias),
                                     .dy = dy.raw(),
                                     .dx = dx.raw(),
                                     .dw = floats(dw),
                                     .dbias = floats(dbias),
                                     .y = y.raw(),
                                     .dx_sum = floats(dx_sum),
                                     .images = sizes_.images,
                                     .height = sizes_.height,
                                     .width = sizes_.width,
                                     .channels = sizes_.channels,
                                     .accumulate_dx = wanted.accumulate_dx,
                                     .accumulate_parameters = wanted.accumulate_parameters,
                                     .accumulate_dx_sum = wanted.accumulate_dx_sum});
    Results results{loaded(device, forward), loaded(device, y),     loaded(device, dx),
                    loaded(device, dw),      loaded(device, dbias), loaded(device, dx_sum)};
    EXPECT_EQ(device.memory().damage(), "");
    return results;
  }

 private:
  const DeviceKind kind_;
  const DType dtype_;
  const Sizes sizes_;
};

class DepthwiseGeluKernel : public KernelTest<Case, Sizes> {};

TEST_P(DepthwiseGeluKernel, YieldsTheForwardPassAgain) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    const Results all = test.run(inputs, {});
    expect_same_bits(all.y, all.forward, "y beside gradients");
    const Results alone = test.run(inputs, {.dx = false, .parameters = false, .dx_sum = false});
    expect_same_bits(alone.y, all.forward, "y alone");
  });
}

/// Sums of zeros of either sign tell in which order, and whether, zeros beyond the border are added.
TEST_P(DepthwiseGeluKernel, YieldsTheForwardPassAgainOfZeros) {
  Inputs inputs = drawn(sizes());
  std::ranges::fill(inputs.x, 0.0f);
  std::ranges::fill(inputs.bias, -0.0f);
  for (size_t i = 0; i < inputs.w.size(); ++i)  // row above, pixel's row, row below
    inputs.w[i] = std::copysign(inputs.w[i], i / 3 / sizes().channels == 0 ? 1.0f : -1.0f);
  for_each_storage([&](const Case& test) {
    const Results results = test.run(inputs, {.dx_sum = false});
    expect_same_bits(results.y, results.forward, "y");
  });
}

/// bf16 storage is of maps, not of weights: a weight of 1 + 2⁻¹⁰ less one of 1 leaves something.
TEST_P(DepthwiseGeluKernel, DoesNotRoundWeightsToBf16) {
  const int width = sizes().width, channels = sizes().channels;
  Inputs inputs = drawn(sizes());
  std::ranges::fill(inputs.x, 1.0f);
  std::ranges::fill(inputs.bias, 0.0f);
  std::ranges::fill(inputs.w, 0.0f);
  for (int c = 0; c < channels; ++c) {
    inputs.w[3 * channels + c] = -1.0f;  // of the left neighbour
    inputs.w[4 * channels + c] = 1.0f + 0x1p-10f;
  }
  for_each_storage([&](const Case& test) {
    const Values y = test.run(inputs, {.dx_sum = false}).forward;
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / channels % width == 0) continue;
      ASSERT_NEAR(y[i], 0x1p-11, 0x1p-18) << i;
    }
  });
}

TEST_P(DepthwiseGeluKernel, SumsItsShareOfDxAheadOfRounding) {
  const Inputs inputs = drawn(sizes());
  const Results exact = Case(kind(), DType::f32, sizes()).run(inputs, {});
  const auto [sums, magnitudes] = column_sums(exact.dx, sizes().channels);
  for_each_storage([&](const Case& test) {
    for (const Wanted& wanted : {Wanted{}, Wanted{.parameters = false, .y = false},
                                 Wanted{.accumulate_dx = true, .accumulate_dx_sum = true},
                                 Wanted{.parameters = false, .accumulate_dx_sum = true}}) {
      const Values got = test.run(inputs, wanted).dx_sum;
      for (int c = 0; c < sizes().channels; ++c)
        ASSERT_NEAR(got[c] - (wanted.accumulate_dx_sum ? 1.0 : 0.0), sums[c], 2e-5 * (magnitudes[c] + 1.0))
            << "channel " << c;
    }
  });
}

TEST_P(DepthwiseGeluKernel, LeavesGradientsAsTheyAreWithoutFurtherResults) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    for (const bool accumulate : {false, true}) {
      Wanted wanted{.accumulate_dx = accumulate, .accumulate_parameters = accumulate};
      const Results more = test.run(inputs, wanted);
      wanted.y = wanted.dx_sum = false;
      const Results plain = test.run(inputs, wanted);
      expect_near(more.dx, plain.dx, 1e-6, "dx");
      expect_near(more.dw, plain.dw, 1e-6, "dw");
      expect_near(more.dbias, plain.dbias, 1e-6, "dbias");
    }
  });
}

TEST_P(DepthwiseGeluKernel, DoesNotDependOnTheOrderOfThreads) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    const Results first = test.run(inputs, {});
    for (const simt::Order order : orders_of(kind())) {
      const Results results = test.run(inputs, {}, order);
      expect_same_bits(results.y, first.y, "y");
      expect_same_bits(results.dx, first.dx, "dx");
      expect_same_bits(results.dw, first.dw, "dw");
      expect_same_bits(results.dbias, first.dbias, "dbias");
      expect_same_bits(results.dx_sum, first.dx_sum, "dx_sum");
    }
  });
}

TEST_P(DepthwiseGeluKernel, RefusesToSumWhatIsNotWanted) {
  const Inputs inputs = drawn(sizes());
  for_each_storage(
      [&](const Case& test) { EXPECT_THROW(test.run(inputs, {.dx = false}), std::invalid_argument); });
}

INSTANTIATE_TEST_SUITE_P(
    All, DepthwiseGeluKernel,
    ::testing::Combine(::testing::ValuesIn(devices_of_this_build()),
                       ::testing::Values(Sizes{1, 1, 1, 1}, Sizes{2, 7, 5, 3}, Sizes{1, 17, 11, 132},
                                         Sizes{2, 19, 21, 40}, Sizes{1, 3, 133, 16}, Sizes{1, 3, 133, 3},
                                         Sizes{2, 83, 5, 3}, Sizes{2, 1, 33, 8}, Sizes{2, 20, 20, 64},
                                         Sizes{5, 10, 10, 264}, Sizes{1, 9, 80, 40}, Sizes{3, 23, 1, 16},
                                         Sizes{1, 2, 129, 16}, Sizes{1, 3, 257, 16})),
    by_device);

}  // namespace
}  // namespace scrawl
