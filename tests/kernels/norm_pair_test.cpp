// Two layer norms by one kernel against the same by one kernel each.
#include "kernels/layer_norm.h"
#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Sizes {
  int64_t rows;
  int channels;
};
void PrintTo(const Sizes& sizes, std::ostream* out) {
  *out << sizes.rows << " x " << sizes.channels;
}

struct Inputs {
  Values x, gamma, beta, next_gamma, next_beta, dz, dy;
};
Inputs drawn(const Sizes& sizes) {
  const int64_t elements = sizes.rows * sizes.channels, channels = sizes.channels;
  return {noise(elements, 1, 0.5f), noise(channels, 2, 1.0f), noise(channels, 3), noise(channels, 4, 1.0f),
          noise(channels, 5),       noise(elements, 6),       noise(elements, 7)};
}

/// What there is and what is asked for.
struct Wanted {
  bool dz = true, dy = true, y = true, in_place = false;
};

struct Results {
  Values z, y, mean, rstd, next_mean, next_rstd;  // forward
  Values again, dx;                               // y once more
};

class Case {
 public:
  Case(DeviceKind kind, DType dtype, const Sizes& sizes) : kind_(kind), dtype_(dtype), sizes_(sizes) {}

  Results at_once(const Inputs& inputs, const Wanted& wanted,
                  simt::Order order = simt::Order::forward) const {
    Run run(*this, inputs, wanted, order);
    run.device.run(NormPairForward{
        .dtype = dtype_,
        .x = run.x.raw(),
        .first = {floats(run.gamma), floats(run.beta), floats(run.mean), floats(run.rstd), 1e-5f},
        .second = {floats(run.next_gamma), floats(run.next_beta), floats(run.next_mean),
                   floats(run.next_rstd), 1e-6f},
        .z = run.z.raw(),
        .y = run.y.raw(),
        .rows = sizes_.rows,
        .channels = sizes_.channels});
    run.device.run(
        NormPairBackward{.dtype = dtype_,
                         .x = run.x.raw(),
                         .first = {floats(run.gamma), floats(run.beta), floats(run.mean), floats(run.rstd)},
                         .second = {floats(run.next_gamma), wanted.y ? floats(run.next_beta) : nullptr,
                                    floats(run.next_mean), floats(run.next_rstd)},
                         .dz = run.dz.raw(),
                         .dy = run.dy.raw(),
                         .y = run.again.raw(),
                         .dx = run.dx.raw(),
                         .rows = sizes_.rows,
                         .channels = sizes_.channels});
    return run.results();
  }

  Results one_by_one(const Inputs& inputs, const Wanted& wanted) const {
    Run run(*this, inputs, wanted, simt::Order::forward);
    const auto forward = [&](const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& y,
                             const Tensor& mean, const Tensor& rstd, float eps) {
      run.device.run(LayerNormForward{.dtype = dtype_,
                                      .x = x.raw(),
                                      .gamma = floats(gamma),
                                      .beta = floats(beta),
                                      .y = y.raw(),
                                      .mean = floats(mean),
                                      .rstd = floats(rstd),
                                      .rows = sizes_.rows,
                                      .channels = sizes_.channels,
                                      .eps = eps});
    };
    forward(run.x, run.gamma, run.beta, run.z, run.mean, run.rstd, 1e-5f);
    forward(run.z, run.next_gamma, run.next_beta, run.y, run.next_mean, run.next_rstd, 1e-6f);
    Tensor total = run.dz;
    if (wanted.dy) {
      total = Tensor(run.device, run.map, dtype_);
      run.device.run(ResidualNormBackward{.dtype = dtype_,
                                          .sum = run.z.raw(),
                                          .gamma = floats(run.next_gamma),
                                          .beta = floats(run.next_beta),
                                          .mean = floats(run.next_mean),
                                          .rstd = floats(run.next_rstd),
                                          .dsum = run.dz.raw(),
                                          .dy = run.dy.raw(),
                                          .y = run.again.raw(),
                                          .dx = total.raw(),
                                          .images = 1,
                                          .rows = sizes_.rows,
                                          .channels = sizes_.channels});
    }
    run.device.run(LayerNormBackward{.dtype = dtype_,
                                     .x = run.x.raw(),
                                     .gamma = floats(run.gamma),
                                     .mean = floats(run.mean),
                                     .rstd = floats(run.rstd),
                                     .dy = total.raw(),
                                     .dx = run.dx.raw(),
                                     .rows = sizes_.rows,
                                     .channels = sizes_.channels});
    return run.results();
  }

  /// How far dx may be from that of one kernel after the other, which round between them; of the largest.
  double tolerance() const { return dtype_ == DType::bf16 ? 0x1p-6 : 1e-5; }

 private:
  static float* floats(const Tensor& t) { return static_cast<float*>(t.raw()); }

  /// A device with all tensors; results hold ones.
  struct Run {
    Run(const Case& test, const Inputs& inputs, const Wanted& wanted, simt::Order order)
        : device({.kind = test.kind_, .threads = 2, .guard_memory = true, .simt = {.order = order}}),
          map{test.sizes_.rows, test.sizes_.channels},
          dtype(test.dtype_) {
      const auto given = [&](const Values& values) { return stored(device, map, dtype, values); };
      const auto ones = [&](const Shape& shape, DType type) {
        return stored(device, shape, type, Values(shape.elements(), 1.0f));
      };
      const auto parameter = [&](const Values& values) {
        return Tensor::from(device, {test.sizes_.channels}, values);
      };
      x = given(inputs.x);
      gamma = parameter(inputs.gamma), beta = parameter(inputs.beta);
      next_gamma = parameter(inputs.next_gamma), next_beta = parameter(inputs.next_beta);
      if (wanted.dz) dz = given(inputs.dz);
      if (wanted.dy) dy = given(inputs.dy);
      z = ones(map, dtype), y = ones(map, dtype);
      for (Tensor* moments : {&mean, &rstd, &next_mean, &next_rstd})
        *moments = ones({test.sizes_.rows}, DType::f32);
      if (wanted.y) again = ones(map, dtype);
      dx = wanted.in_place ? dz : ones(map, dtype);
    }
    Results results() {
      const auto values = [&](const Tensor& t) { return loaded(device, t); };
      Results results{values(z),         values(y),         values(mean),  values(rstd),
                      values(next_mean), values(next_rstd), values(again), values(dx)};
      EXPECT_EQ(device.memory().damage(), "");
      return results;
    }

    Device device;
    const Shape map;
    const DType dtype;
    Tensor x, gamma, beta, next_gamma, next_beta, dz, dy;
    Tensor z, y, mean, rstd, next_mean, next_rstd, again, dx;
  };

  const DeviceKind kind_;
  const DType dtype_;
  const Sizes sizes_;
};

class NormPairKernel : public KernelTest<Case, Sizes> {};

TEST_P(NormPairKernel, HasTheBitsOfTwoNorms) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    const Results got = test.at_once(inputs, {}), wanted = test.one_by_one(inputs, {});
    expect_same_bits(got.z, wanted.z, "z");
    expect_same_bits(got.y, wanted.y, "y");
    expect_same_bits(got.mean, wanted.mean, "first mean");
    expect_same_bits(got.rstd, wanted.rstd, "first rstd");
    expect_same_bits(got.next_mean, wanted.next_mean, "second mean");
    expect_same_bits(got.next_rstd, wanted.next_rstd, "second rstd");
    expect_same_bits(got.again, wanted.y, "y once more");
  });
}

TEST_P(NormPairKernel, HasTheGradientsOfTwoNorms) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    for (const Wanted& wanted : {Wanted{}, Wanted{.y = false}, Wanted{.dz = false}, Wanted{.in_place = true},
                                 Wanted{.dy = false, .y = false}}) {
      const Results got = test.at_once(inputs, wanted);
      expect_near(got.dx, test.one_by_one(inputs, wanted).dx, test.tolerance(), "dx");
      if (wanted.y) expect_same_bits(got.again, got.y, "y once more");
    }
  });
}

TEST_P(NormPairKernel, DoesNotDependOnTheOrderOfThreads) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    const Results first = test.at_once(inputs, {});
    for (const bool in_place : {false, true})
      for (const simt::Order order : orders_of(kind())) {
        const Results results = test.at_once(inputs, {.in_place = in_place}, order);
        expect_same_bits(results.z, first.z, "z");
        expect_same_bits(results.y, first.y, "y");
        expect_same_bits(results.again, first.again, "y once more");
        expect_same_bits(results.dx, first.dx, "dx");
      }
  });
}

TEST_P(NormPairKernel, RefusesWhatItHasNothingToMakeOf) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    EXPECT_THROW(test.at_once(inputs, {.dy = false}), std::invalid_argument);
    EXPECT_THROW(test.at_once(inputs, {.dz = false, .dy = false, .y = false}), std::invalid_argument);
  });
}

INSTANTIATE_TEST_SUITE_P(All, NormPairKernel,
                         ::testing::Combine(::testing::ValuesIn(devices_of_this_build()),
                                            ::testing::Values(Sizes{1, 2}, Sizes{10, 3}, Sizes{21, 33},
                                                              Sizes{1, 64}, Sizes{70, 64}, Sizes{1, 32},
                                                              Sizes{300, 32}, Sizes{27, 128}, Sizes{9, 160},
                                                              Sizes{15, 264}, Sizes{27, 320}, Sizes{15, 512},
                                                              Sizes{6, 520}, Sizes{10, 1025})),
                         by_device);

}  // namespace
}  // namespace scrawl
