// What the backward kernels of layer norm yield beside gradients: y once more.
#include "kernels/layer_norm.h"
#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Sizes {
  int64_t images, rows;
  int channels;
  Shape map() const { return {images, rows, channels}; }
};
void PrintTo(const Sizes& sizes, std::ostream* out) {
  *out << sizes.map().text();
}

struct Inputs {
  Values x, branch, gamma, beta, dsum, dy;
};
Inputs drawn(const Sizes& sizes) {
  const int64_t elements = sizes.map().elements();
  return {noise(elements, 1, 0.5f), noise(elements, 2), noise(sizes.channels, 3, 1.0f),
          noise(sizes.channels, 4), noise(elements, 5), noise(elements, 6)};
}

/// What there is and what is asked for; what is added to holds ones.
struct Wanted {
  bool dsum = true, dy = true, drops = true;  // which scales the branch, so that it has a gradient of its own
  bool dx = true, dbranch = true, parameters = true, y = true;
  bool in_place = false, accumulates = false;
};

struct Results {
  Values forward;  // y of the forward pass
  Values y, dx, dbranch, dgamma, dbeta;
};

class Case {
 public:
  Case(DeviceKind kind, DType dtype, const Sizes& sizes) : kind_(kind), dtype_(dtype), sizes_(sizes) {}

  Results run(const Inputs& inputs, const Wanted& wanted, simt::Order order = simt::Order::forward) const {
    Device device({.kind = kind_, .threads = 2, .guard_memory = true, .simt = {.order = order}});
    const StepState state{.seed = 7, .step = 3};
    const Tensor state_there(device, {sizeof(StepState)}, DType::u8);
    device.upload(state_there.raw(), &state, sizeof state);
    const DropPath drop_path{wanted.drops ? 0.4f : 0.0f,
                             {static_cast<const StepState*>(state_there.raw()), 0}};

    const Shape map = sizes_.map(), channels{sizes_.channels}, rows{sizes_.images * sizes_.rows};
    const auto given = [&](const Values& values) { return stored(device, map, dtype_, values); };
    const auto ones = [&](bool there, const Shape& shape, DType dtype) {
      return there ? stored(device, shape, dtype, Values(shape.elements(), 1.0f)) : Tensor();
    };
    const auto floats = [](const Tensor& t) { return static_cast<float*>(t.raw()); };
    const Tensor x = given(inputs.x), branch = given(inputs.branch);
    const Tensor gamma = Tensor::from(device, channels, inputs.gamma);
    const Tensor beta = Tensor::from(device, channels, inputs.beta);
    const Tensor sum = ones(true, map, dtype_), forward = ones(true, map, dtype_);
    const Tensor mean = ones(true, rows, DType::f32), rstd = ones(true, rows, DType::f32);
    device.run(ResidualNormForward{.dtype = dtype_,
                                   .x = x.raw(),
                                   .branch = branch.raw(),
                                   .gamma = floats(gamma),
                                   .beta = floats(beta),
                                   .sum = sum.raw(),
                                   .y = forward.raw(),
                                   .mean = floats(mean),
                                   .rstd = floats(rstd),
                                   .images = sizes_.images,
                                   .rows = sizes_.rows,
                                   .channels = sizes_.channels,
                                   .drop_path = drop_path});

    const Tensor dsum = wanted.dsum ? given(inputs.dsum) : Tensor();
    const Tensor dy = wanted.dy ? given(inputs.dy) : Tensor();
    const Tensor dx = wanted.in_place ? dsum : ones(wanted.dx, map, dtype_);
    const Tensor dbranch = ones(wanted.drops && wanted.dbranch, map, dtype_);
    const Tensor dgamma = ones(wanted.parameters, channels, DType::f32);
    const Tensor dbeta = ones(wanted.parameters, channels, DType::f32);
    const Tensor y = ones(wanted.y, map, dtype_);
    device.run(ResidualNormBackward{.dtype = dtype_,
                                    .sum = sum.raw(),
                                    .gamma = floats(gamma),
                                    .beta = wanted.y ? floats(beta) : nullptr,
                                    .mean = floats(mean),
                                    .rstd = floats(rstd),
                                    .dsum = dsum.raw(),
                                    .dy = dy.raw(),
                                    .y = y.raw(),
                                    .dx = dx.raw(),
                                    .dbranch = dbranch.raw(),
                                    .dgamma = floats(dgamma),
                                    .dbeta = floats(dbeta),
                                    .images = sizes_.images,
                                    .rows = sizes_.rows,
                                    .channels = sizes_.channels,
                                    .drop_path = drop_path,
                                    .accumulate_parameters = wanted.accumulates});
    const auto values = [&](const Tensor& t) { return loaded(device, t); };
    Results results{values(forward), values(y), values(dx), values(dbranch), values(dgamma), values(dbeta)};
    EXPECT_EQ(device.memory().damage(), "");
    return results;
  }

  /// Of a layer norm alone, whose dx is added to what is there.
  void expect_same_of_layer_norm(const Inputs& inputs) const {
    Device device({.kind = kind_, .threads = 2, .guard_memory = true});
    const Shape map = sizes_.map(), channels{sizes_.channels};
    const Tensor x = stored(device, map, dtype_, inputs.x), dy = stored(device, map, dtype_, inputs.dy);
    const Tensor dx = stored(device, map, dtype_, inputs.dsum);
    const Tensor gamma = Tensor::from(device, channels, inputs.gamma);
    const Tensor beta = Tensor::from(device, channels, inputs.beta);
    const Tensor forward = Tensor::zeros(device, map, dtype_), y = Tensor::zeros(device, map, dtype_);
    Tensor mean(device, {sizes_.images * sizes_.rows}), rstd(device, {sizes_.images * sizes_.rows});
    device.run(LayerNormForward{.dtype = dtype_,
                                .x = x.raw(),
                                .gamma = gamma.data<float>(),
                                .beta = beta.data<float>(),
                                .y = forward.raw(),
                                .mean = mean.data<float>(),
                                .rstd = rstd.data<float>(),
                                .rows = sizes_.images * sizes_.rows,
                                .channels = sizes_.channels});
    device.run(LayerNormBackward{.dtype = dtype_,
                                 .x = x.raw(),
                                 .gamma = gamma.data<float>(),
                                 .beta = beta.data<float>(),
                                 .mean = mean.data<float>(),
                                 .rstd = rstd.data<float>(),
                                 .dy = dy.raw(),
                                 .y = y.raw(),
                                 .dx = dx.raw(),
                                 .rows = sizes_.images * sizes_.rows,
                                 .channels = sizes_.channels,
                                 .accumulate_dx = true});
    expect_same_bits(loaded(device, y), loaded(device, forward), "y of a layer norm");
    EXPECT_EQ(device.memory().damage(), "");
  }

 private:
  const DeviceKind kind_;
  const DType dtype_;
  const Sizes sizes_;
};

class ResidualNormKernel : public KernelTest<Case, Sizes> {};

TEST_P(ResidualNormKernel, YieldsTheForwardPassAgain) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    for (const Wanted& wanted :
         {Wanted{}, Wanted{.dsum = false}, Wanted{.drops = false, .parameters = false, .in_place = true},
          Wanted{.dx = false, .dbranch = false, .parameters = false}}) {
      const Results results = test.run(inputs, wanted);
      expect_same_bits(results.y, results.forward, "y");
    }
    test.expect_same_of_layer_norm(inputs);
  });
}

TEST_P(ResidualNormKernel, LeavesGradientsAsTheyAreWithoutFurtherResults) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    for (const bool accumulates : {false, true}) {
      Wanted wanted{.drops = false, .accumulates = accumulates};
      const Results more = test.run(inputs, wanted);
      wanted.y = false;
      const Results plain = test.run(inputs, wanted);
      expect_near(more.dx, plain.dx, 1e-6, "dx");
      expect_near(more.dgamma, plain.dgamma, 1e-6, "dgamma");
      expect_near(more.dbeta, plain.dbeta, 1e-6, "dbeta");
    }
  });
}

TEST_P(ResidualNormKernel, DoesNotDependOnTheOrderOfThreads) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    const Results first = test.run(inputs, {});
    for (const simt::Order order : orders_of(kind())) {
      const Results results = test.run(inputs, {}, order);
      expect_same_bits(results.y, first.y, "y");
      expect_same_bits(results.dx, first.dx, "dx");
      expect_same_bits(results.dbranch, first.dbranch, "dbranch");
      expect_same_bits(results.dgamma, first.dgamma, "dgamma");
      expect_same_bits(results.dbeta, first.dbeta, "dbeta");
    }
  });
}

TEST_P(ResidualNormKernel, RefusesWhatItHasNothingToMakeOf) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    EXPECT_THROW(test.run(inputs, {.dy = false, .parameters = false}), std::invalid_argument);
  });
}

INSTANTIATE_TEST_SUITE_P(
    All, ResidualNormKernel,
    ::testing::Combine(::testing::ValuesIn(devices_of_this_build()),
                       ::testing::Values(Sizes{1, 1, 1}, Sizes{2, 5, 3}, Sizes{2, 520, 3}, Sizes{3, 7, 33},
                                         Sizes{2, 35, 64}, Sizes{2, 200, 64}, Sizes{3, 9, 128},
                                         Sizes{3, 5, 264}, Sizes{3, 9, 320}, Sizes{3, 5, 512},
                                         Sizes{2, 3, 520}, Sizes{2, 5, 1025})),
    by_device);

}  // namespace
}  // namespace scrawl
