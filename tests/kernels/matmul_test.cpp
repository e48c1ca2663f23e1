// What the table of operations cannot hold: NaN around ReLU, and what is refused.
#include "kernels/matmul.h"

#include <limits>

#include "tests/kernels/values.h"

namespace scrawl {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();

/// Ones [m,k] · ones [k,n] on a device.
class Ones {
 public:
  Ones(DeviceKind kind, DType dtype, int64_t m, int64_t n, int64_t k)
      : device_({.kind = kind, .guard_memory = true}),
        dtype_(dtype),
        m_(m),
        n_(n),
        k_(k),
        a_(of({m, k}, Values(m * k, 1.0f))),
        b_(of({k, n}, Values(k * n, 1.0f))) {}

  Tensor of(const Shape& shape, const Values& values) { return stored(device_, shape, dtype_, values); }
  /// [m,n], `value` at the beginning and at the end, −1 next to it, and 1 elsewhere.
  Tensor with(float value) {
    Values values(m_ * n_, 1.0f);
    values.front() = values.back() = value;
    values[1] = -1.0f;
    return of({m_, n_}, values);
  }
  MatMul product(const Tensor& c) const {
    return {.dtype = dtype_,
            .c_dtype = dtype_,
            .m = m_,
            .n = n_,
            .k = k_,
            .a = a_.raw(),
            .lda = k_,
            .b = b_.raw(),
            .ldb = n_,
            .c = c.raw(),
            .ldc = n_};
  }
  Values relu(const Tensor& addend) {
    const Tensor c = with(0.0f);
    MatMul args = product(c);
    args.addend = addend.raw();
    args.relu = true;
    device_.run(args);
    return loaded(device_, c);
  }
  Values relu_of_layer() {
    const Tensor c = with(0.0f);
    MatMul args = product(c);
    args.transpose_b = true;
    args.ldb = k_;
    args.relu = true;
    device_.run(args);
    return loaded(device_, c);
  }
  Values gated(const Tensor& gate) {
    const Tensor c = with(0.0f);
    MatMul args = product(c);
    args.gate = gate.raw();
    device_.run(args);
    return loaded(device_, c);
  }
  /// A NaN among the factors.
  void spoil() {
    Values values(k_ * n_, 1.0f);
    values[0] = kNan;
    b_ = of({k_, n_}, values);
  }
  Device& device() { return device_; }

 private:
  Device device_;
  DType dtype_;
  int64_t m_, n_, k_;
  Tensor a_, b_;
};

struct Sizes {
  int64_t m, n, k;
};
class MatMulEpilogue : public KernelTest<Ones, Sizes> {
 protected:
  template <typename Body>
  void for_each_product(Body body) const {
    for (const DType dtype : storage_of(kind())) {
      SCOPED_TRACE(name_of(dtype));
      Ones ones(kind(), dtype, sizes().m, sizes().n, sizes().k);
      body(ones);
      EXPECT_EQ(ones.device().memory().damage(), "");
    }
  }
};

TEST_P(MatMulEpilogue, ReluShowsNanAndStopsAtZero) {
  for_each_product([&](Ones& ones) {
    const float k = static_cast<float>(sizes().k);
    EXPECT_TRUE(std::isnan(ones.relu(ones.with(kNan)).back()));
    EXPECT_EQ(ones.relu(ones.with(kInfinity)).back(), kInfinity);
    EXPECT_EQ(ones.relu(ones.with(-kInfinity)).back(), 0.0f);
    EXPECT_EQ(ones.relu(ones.with(-k)).back(), 0.0f);
    if (sizes().k == 0) return;
    ones.spoil();
    const Values c = ones.relu(ones.with(1.0f));
    EXPECT_TRUE(std::isnan(c[0]));
    EXPECT_NEAR(c[1], k - 1.0f, 1.0f);  // 1024 in bf16
  });
}

TEST_P(MatMulEpilogue, ReluOfALayerShowsNan) {
  if (sizes().k == 0) return;
  for_each_product([&](Ones& ones) {
    ones.spoil();
    const Values c = ones.relu_of_layer();
    EXPECT_TRUE(std::isnan(c[0]));
    EXPECT_EQ(c[1], static_cast<float>(sizes().k));
  });
}

TEST_P(MatMulEpilogue, AGateIsClosedByNanAndOpenToIt) {
  for_each_product([&](Ones& ones) {
    const float k = static_cast<float>(sizes().k);
    for (const float closed : {kNan, 0.0f, -0.0f, -1.0f, -kInfinity}) {
      const Values c = ones.gated(ones.with(closed));
      EXPECT_EQ(c.front(), 0.0f) << closed;
      EXPECT_EQ(c[1], 0.0f);
      EXPECT_EQ(c[2], k);
      EXPECT_EQ(c.back(), 0.0f) << closed;
    }
    EXPECT_EQ(ones.gated(ones.with(kInfinity)).back(), k);
    if (sizes().k == 0) return;
    ones.spoil();
    EXPECT_TRUE(std::isnan(ones.gated(ones.with(1.0f)).front()));
    EXPECT_EQ(ones.gated(ones.with(0.0f)).front(), 0.0f);
  });
}

TEST_P(MatMulEpilogue, RefusesWhatNoBackendComputes) {
  for_each_product([&](Ones& ones) {
    const Tensor c = ones.with(1.0f), other = ones.with(1.0f);
    const auto expect_refused = [&](auto change) {
      MatMul args = ones.product(c);
      change(args);
      EXPECT_THROW(ones.device().run(args), std::invalid_argument);
    };
    expect_refused([&](MatMul& args) { args.relu = args.accumulate = true; });
    expect_refused([&](MatMul& args) {
      args.addend = other.raw();
      args.accumulate = true;
    });
    expect_refused([&](MatMul& args) {
      args.gate = other.raw();
      args.accumulate = true;
    });
    expect_refused([&](MatMul& args) {
      args.gate = other.raw();
      args.bias = other.raw();
    });
    expect_refused([&](MatMul& args) {
      args.gate = other.raw();
      args.relu = true;
    });
    expect_refused([&](MatMul& args) {
      args.gate = other.raw();
      ++args.ldc;
    });
  });
}

std::string name_of_case(const ::testing::TestParamInfo<std::tuple<DeviceKind, Sizes>>& test) {
  const auto& [kind, sizes] = test.param;
  return fmt::format("{}_{}x{}x{}", name_of(kind), sizes.m, sizes.n, sizes.k);
}

// In whole packs and not; sums in one piece and in several; few terms, and none; whole rows of few blocks and
// of many.
INSTANTIATE_TEST_SUITE_P(All, MatMulEpilogue,
                         ::testing::Combine(::testing::ValuesIn(devices_of_this_build()),
                                            ::testing::Values(Sizes{5, 7, 3}, Sizes{24, 16, 64},
                                                              Sizes{3, 7, 1024}, Sizes{37, 64, 5},
                                                              Sizes{37, 128, 72}, Sizes{37, 256, 8},
                                                              Sizes{530, 64, 8}, Sizes{5, 7, 0})),
                         name_of_case);

}  // namespace
}  // namespace scrawl
