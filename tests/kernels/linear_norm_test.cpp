// A product and the norm beside it, by one kernel where there is one, against one kernel after the other.
#include "kernels/linear_norm.h"
#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Sizes {
  int64_t images, rows;  // of an image
  int inner, channels;   // of the product: its terms, its columns
  int64_t all_rows() const { return images * rows; }
};
void PrintTo(const Sizes& sizes, std::ostream* out) {
  *out << sizes.images << " x " << sizes.rows << " x " << sizes.inner << " to " << sizes.channels;
}

struct Inputs {
  Values input, weight, bias, x, gamma, beta, dsum, addend;
};
Inputs drawn(const Sizes& sizes) {
  const int64_t inner = sizes.all_rows() * sizes.inner, outer = sizes.all_rows() * sizes.channels;
  return {noise(inner, 1),
          noise(int64_t{sizes.channels} * sizes.inner, 2),
          noise(sizes.channels, 3),
          noise(outer, 4, 0.5f),
          noise(sizes.channels, 5, 1.0f),
          noise(sizes.channels, 6),
          noise(outer, 7),
          noise(outer, 8)};
}

/// What there is and what is asked for.
struct Wanted {
  bool bias = true, drops = true, addend = true, y = true, dsum = true, dx = true, in_place = false;
};

struct Results {
  Values sum, y, mean, rstd;  // forward
  Values again, dx, dbranch;  // y once more
};

class Case {
 public:
  Case(DeviceKind kind, DType dtype, const Sizes& sizes) : kind_(kind), dtype_(dtype), sizes_(sizes) {}

  /// `at_once`: by LinearNormForward and LinearNormBackward.
  Results run(const Inputs& inputs, const Wanted& wanted, bool at_once,
              simt::Order order = simt::Order::forward, bool portable = false) const {
    Device device(
        {.kind = kind_, .threads = 2, .guard_memory = true, .simt = {.order = order}, .portable = portable});
    const StepState state{.seed = 7, .step = 3};
    const Tensor state_there(device, {sizeof(StepState)}, DType::u8);
    device.upload(state_there.raw(), &state, sizeof state);
    const DropPath drop_path{wanted.drops ? 0.4f : 0.0f,
                             {static_cast<const StepState*>(state_there.raw()), 0}};
    const int64_t rows = sizes_.all_rows(), inner = sizes_.inner, channels = sizes_.channels;
    const Shape map{rows, channels}, columns{channels};
    const auto given = [&](const Shape& shape, const Values& values) {
      return stored(device, shape, dtype_, values);
    };
    const auto ones = [&](bool there, const Shape& shape, DType dtype) {
      return there ? stored(device, shape, dtype, Values(shape.elements(), 1.0f)) : Tensor();
    };
    const auto floats = [](const Tensor& t) { return static_cast<float*>(t.raw()); };
    const Tensor input = given({rows, inner}, inputs.input), x = given(map, inputs.x);
    const Tensor bias = wanted.bias ? given(columns, inputs.bias) : Tensor();
    const Tensor gamma = Tensor::from(device, columns, inputs.gamma);
    const Tensor beta = Tensor::from(device, columns, inputs.beta);
    const Tensor sum = ones(true, map, dtype_), y = ones(true, map, dtype_);
    const Tensor mean = ones(true, {rows}, DType::f32), rstd = ones(true, {rows}, DType::f32);
    // As [channels, inner] in the forward pass, as [inner, channels] in the backward pass.
    const Tensor weight = given({channels, inner}, inputs.weight);
    LinearNormForward forward{.linear = {.dtype = dtype_,
                                         .c_dtype = dtype_,
                                         .transpose_b = true,
                                         .m = rows,
                                         .n = channels,
                                         .k = inner,
                                         .a = input.raw(),
                                         .lda = inner,
                                         .b = weight.raw(),
                                         .ldb = inner,
                                         .c = sum.raw(),
                                         .ldc = channels,
                                         .bias = bias.raw()},
                              .norm = {.dtype = dtype_,
                                       .x = x.raw(),
                                       .branch = sum.raw(),
                                       .gamma = floats(gamma),
                                       .beta = floats(beta),
                                       .sum = sum.raw(),
                                       .y = y.raw(),
                                       .mean = floats(mean),
                                       .rstd = floats(rstd),
                                       .images = sizes_.images,
                                       .rows = sizes_.rows,
                                       .channels = sizes_.channels,
                                       .drop_path = drop_path}};
    const Tensor dsum = given(map, inputs.dsum);
    const Tensor dy = wanted.addend ? given(map, inputs.addend) : ones(true, map, dtype_);
    const Tensor again = ones(wanted.y, map, dtype_), dbranch = ones(wanted.drops, map, dtype_);
    const Tensor dx = wanted.in_place ? dsum : ones(wanted.dx, map, dtype_);
    LinearNormBackward backward{.product = {.dtype = dtype_,
                                            .c_dtype = dtype_,
                                            .m = rows,
                                            .n = channels,
                                            .k = inner,
                                            .a = input.raw(),
                                            .lda = inner,
                                            .b = weight.raw(),
                                            .ldb = channels,
                                            .c = dy.raw(),
                                            .ldc = channels,
                                            .accumulate = wanted.addend},
                                .norm = {.dtype = dtype_,
                                         .sum = sum.raw(),
                                         .gamma = floats(gamma),
                                         .beta = wanted.y ? floats(beta) : nullptr,
                                         .mean = floats(mean),
                                         .rstd = floats(rstd),
                                         .dsum = wanted.dsum ? dsum.raw() : nullptr,
                                         .dy = dy.raw(),
                                         .y = again.raw(),
                                         .dx = dx.raw(),
                                         .dbranch = dbranch.raw(),
                                         .images = sizes_.images,
                                         .rows = sizes_.rows,
                                         .channels = sizes_.channels,
                                         .drop_path = drop_path}};
    if (at_once) {
      device.run(forward);
      device.run(backward);
    } else {
      device.run(forward.linear);
      device.run(forward.norm);
      device.run(backward.product);
      device.run(backward.norm);
    }
    const auto values = [&](const Tensor& t) { return loaded(device, t); };
    Results results{values(sum),   values(y),  values(mean),   values(rstd),
                    values(again), values(dx), values(dbranch)};
    EXPECT_EQ(device.memory().damage(), "");
    return results;
  }

  /// Of the largest value.  In bf16 a product whose terms are added in another order may be rounded to the
  /// next value.
  double tolerance() const { return dtype_ == DType::bf16 ? 0x1p-7 : 1e-5; }

 private:
  const DeviceKind kind_;
  const DType dtype_;
  const Sizes sizes_;
};

class LinearNormKernel : public KernelTest<Case, Sizes> {};

TEST_P(LinearNormKernel, ComputesWhatOneKernelAfterTheOtherDoes) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    for (const Wanted& wanted :
         {Wanted{}, Wanted{.bias = false, .addend = false}, Wanted{.drops = false, .in_place = true},
          Wanted{.addend = false, .y = false, .in_place = true}, Wanted{.dx = false},
          Wanted{.drops = false, .addend = false, .dsum = false}}) {
      const Results got = test.run(inputs, wanted, true), expected = test.run(inputs, wanted, false);
      expect_near(got.sum, expected.sum, test.tolerance(), "sum");
      expect_near(got.y, expected.y, test.tolerance(), "y");
      expect_near(got.mean, expected.mean, test.tolerance(), "mean");
      expect_near(got.rstd, expected.rstd, test.tolerance(), "rstd");
      expect_near(got.dx, expected.dx, test.tolerance(), "dx");
      expect_near(got.dbranch, expected.dbranch, test.tolerance(), "dbranch");
      if (wanted.y) expect_same_bits(got.again, got.y, "y once more");
    }
  });
}

TEST_P(LinearNormKernel, IsTwoPortableKernels) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    const Results got = test.run(inputs, {}, true, simt::Order::forward, /*portable=*/true);
    const Results expected = test.run(inputs, {}, false, simt::Order::forward, true);
    expect_same_bits(got.sum, expected.sum, "sum");
    expect_same_bits(got.y, expected.y, "y");
    expect_same_bits(got.dx, expected.dx, "dx");
  });
}

TEST_P(LinearNormKernel, DoesNotDependOnTheOrderOfThreads) {
  const Inputs inputs = drawn(sizes());
  for_each_storage([&](const Case& test) {
    const Results first = test.run(inputs, {}, true);
    for (const simt::Order order : orders_of(kind())) {
      const Results results = test.run(inputs, {}, true, order);
      expect_same_bits(results.sum, first.sum, "sum");
      expect_same_bits(results.y, first.y, "y");
      expect_same_bits(results.again, first.again, "y once more");
      expect_same_bits(results.dx, first.dx, "dx");
      expect_same_bits(results.dbranch, first.dbranch, "dbranch");
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    All, LinearNormKernel,
    ::testing::Combine(::testing::ValuesIn(devices_of_this_build()),
                       ::testing::Values(Sizes{2, 7, 33, 30}, Sizes{1, 1, 8, 64}, Sizes{2, 35, 64, 64},
                                         Sizes{3, 43, 40, 64}, Sizes{2, 90, 256, 64}, Sizes{1, 130, 72, 128},
                                         Sizes{2, 64, 512, 128}, Sizes{2, 300, 64, 64},
                                         Sizes{2, 270, 136, 128}, Sizes{2, 270, 328, 64})),
    by_device);

}  // namespace
}  // namespace scrawl
