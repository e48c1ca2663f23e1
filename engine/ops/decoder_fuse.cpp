// Backwards, with dz_i = up_iᵀ(dy) and db = Σ_rows dy (interpolation weights sum to one, so all levels share
// it):
//   dG_i = dz_iᵀ x_i,  dx_i = dz_i G_i,  dF_i = dG_i W_iᵀ + db b_iᵀ,  dW_i = F_iᵀ dG_i,  db_i = F_iᵀ db.
// All products but those with x_i are between small matrices.  Neighbouring levels of one size share dz_i.
#include "kernels/decoder_fuse.h"

#include "engine/ops.h"
#include "kernels/decoder_weights.h"
#include "kernels/matmul_group.h"
#include "kernels/upsample.h"

namespace scrawl::ops {
namespace {

constexpr int kLevels = DecoderWeights::kLevels;

struct Inputs {
  std::array<Tensor, kLevels> maps, weights, biases;
  Tensor fuse;
  int64_t width() const { return fuse.dim(0); }
  DecoderWeights parameters() const {
    DecoderWeights p{.width = static_cast<int>(width()), .fuse = fuse.data<float>()};
    for (int i = 0; i < kLevels; ++i) {
      p.channels[i] = static_cast<int>(maps[i].dim(3));
      p.weights[i] = weights[i].data<float>();
      p.biases[i] = biases[i].data<float>();
    }
    return p;
  }
};

void check(const Inputs& in) {
  require(in.fuse.shape().rank() == 2 && in.fuse.dim(1) == kLevels * in.fuse.dim(0),
          "decoder_fuse: fuse weight {}", in.fuse.shape().text());
  for (int i = 0; i < kLevels; ++i)
    require(in.maps[i].shape().rank() == 4 && in.maps[i].dim(0) == in.maps[0].dim(0) &&
                in.weights[i].shape() == Shape{in.width(), in.maps[i].dim(3)} &&
                in.biases[i].shape() == Shape{in.width()},
            "decoder_fuse: level {}: map {}, weight {}, bias {}, width {}", i + 1, in.maps[i].shape().text(),
            in.weights[i].shape().text(), in.biases[i].shape().text(), in.width());
}

/// What the parameters are multiplied to before they meet the maps.
struct Premultiplied {
  std::array<Tensor, kLevels> g;  // G_i = F_i W_i [D, C_i]
  Tensor bias;                    // Σ_i F_i b_i [D]
};

Premultiplied premultiply(Device& device, const Inputs& in) {
  Premultiplied product{.bias = Tensor(device, {in.width()})};
  DecoderPremultiply args{.dtype = in.maps[0].dtype(), .parameters = in.parameters()};
  for (int i = 0; i < kLevels; ++i) {
    product.g[i] = Tensor(device, {in.width(), in.maps[i].dim(3)}, args.dtype);
    args.g[i] = product.g[i].raw();
  }
  args.bias = product.bias.data<float>();
  device.run(args);
  return product;
}

/// z_i = x_i G_iᵀ [N,H_i,W_i,D].
Tensor projected(Device& device, const Tensor& map, const Tensor& g) {
  const int64_t width = g.dim(0), channels = g.dim(1);
  Tensor z(device, map.shape().with_last(width), map.dtype());
  device.run(MatMul{.name = "decoder_fuse.project",
                    .dtype = map.dtype(),
                    .c_dtype = map.dtype(),
                    .transpose_b = true,
                    .m = map.shape().rows(),
                    .n = width,
                    .k = channels,
                    .a = map.raw(),
                    .lda = channels,
                    .b = g.raw(),
                    .ldb = channels,
                    .c = z.raw(),
                    .ldc = width});
  return z;
}

bool same_grid(const Tensor& a, const Tensor& b) {
  return a.dim(1) == b.dim(1) && a.dim(2) == b.dim(2);
}

/// up_iᵀ(dy) [N,H_i,W_i,D].
Tensor down(Device& device, const Tensor& dy, const Tensor& map) {
  Tensor dz(device, map.shape().with_last(dy.dim(3)), dy.dtype());
  device.run(UpsampleBackward{.dtype = dy.dtype(),
                              .shape = {.images = dy.dim(0),
                                        .in_height = static_cast<int>(map.dim(1)),
                                        .in_width = static_cast<int>(map.dim(2)),
                                        .out_height = static_cast<int>(dy.dim(1)),
                                        .out_width = static_cast<int>(dy.dim(2)),
                                        .channels = static_cast<int>(dy.dim(3))},
                              .dy = dy.raw(),
                              .dx = dz.raw()});
  return dz;
}

/// dx_i = dz_i G_i.
void map_backward(Device& device, const Tensor& x, const Tensor& dz, const Tensor& g) {
  const int64_t width = g.dim(0), channels = g.dim(1);
  const auto to = gradient_target(device, x.gradient(), x.shape(), x.dtype());
  if (!to.data) return;
  device.run(MatMul{.name = "decoder_fuse.backward_input",
                    .dtype = x.dtype(),
                    .c_dtype = x.dtype(),
                    .m = x.shape().rows(),
                    .n = channels,
                    .k = width,
                    .a = dz.raw(),
                    .lda = width,
                    .b = g.raw(),
                    .ldb = channels,
                    .c = to.data,
                    .ldc = channels,
                    .accumulate = to.accumulate});
}

/// dG_i = dz_iᵀ x_i, in fp32.  Level 0 also makes db: its product reads dy anyway.
void products_backward(Device& device, const Inputs& in, const std::array<Tensor, kLevels>& dz,
                       const std::array<Tensor, kLevels>& dg, const Tensor& db) {
  MatMulGroup group{.name = "decoder_fuse.backward_weight", .products = {}};
  for (int i = 0; i < kLevels; ++i) {
    const Tensor& x = in.maps[i];
    const int64_t width = dg[i].dim(0), channels = dg[i].dim(1);
    group.products.push_back({.name = group.name,
                              .dtype = x.dtype(),
                              .transpose_a = true,
                              .m = width,
                              .n = channels,
                              .k = x.shape().rows(),
                              .a = dz[i].raw(),
                              .lda = width,
                              .b = x.raw(),
                              .ldb = channels,
                              .c = dg[i].raw(),
                              .ldc = channels,
                              .a_sum = i == 0 ? db.data<float>() : nullptr});
  }
  device.run(group);
}

/// dF_i, dW_i and db_i of all levels.
void parameters_backward(Device& device, const Inputs& in, const std::array<Tensor, kLevels>& dg,
                         const Tensor& db) {
  const auto target = [&](const Tensor& parameter) {
    const auto to = gradient_target(device, parameter.gradient(), parameter.shape());
    return DecoderWeightsBackward::Target{to.f32(), to.accumulate};
  };
  DecoderWeightsBackward args{
      .parameters = in.parameters(), .db = db.data<float>(), .dfuse = target(in.fuse)};
  for (int i = 0; i < kLevels; ++i) {
    args.dg[i] = dg[i].data<float>();
    args.dweights[i] = target(in.weights[i]);
    args.dbiases[i] = target(in.biases[i]);
  }
  device.run(args);
}

}  // namespace

Tensor decoder_fuse(Tape& tape, const std::array<Tensor, 4>& maps, const std::array<Tensor, 4>& weights,
                    const std::array<Tensor, 4>& biases, const Tensor& fuse) {
  const Inputs in{maps, weights, biases, fuse};
  check(in);
  Device& device = tape.device();
  const auto [g, bias] = premultiply(device, in);
  DecoderFuseForward forward{.dtype = maps[0].dtype(),
                             .bias = bias.data<float>(),
                             .images = maps[0].dim(0),
                             .channels = static_cast<int>(in.width())};
  std::array<Tensor, kLevels> z;
  for (int i = 0; i < kLevels; ++i) {
    z[i] = projected(device, maps[i], g[i]);
    forward.z[i] = z[i].raw();
    forward.heights[i] = static_cast<int>(maps[i].dim(1));
    forward.widths[i] = static_cast<int>(maps[i].dim(2));
  }
  Tensor y(device, maps[0].shape().with_last(in.width()), maps[0].dtype());
  forward.y = y.raw();
  device.run(forward);

  tape.record(y,
              {&maps[0], &maps[1], &maps[2], &maps[3], &weights[0], &weights[1], &weights[2], &weights[3],
               &biases[0], &biases[1], &biases[2], &biases[3], &fuse},
              [in, g = g, &device](const Tensor& dy) {
                const Tensor db(device, {in.width()});
                std::array<Tensor, kLevels> dz, dg;
                for (int i = 0; i < kLevels; ++i) {
                  const bool shared = i > 0 && same_grid(in.maps[i], in.maps[i - 1]);
                  dz[i] = i == 0 ? dy : shared ? dz[i - 1] : down(device, dy, in.maps[i]);
                  dg[i] = Tensor(device, g[i].shape());
                  map_backward(device, in.maps[i], dz[i], g[i]);
                }
                device.aside([=, &device] {
                  products_backward(device, in, dz, dg, db);
                  parameters_backward(device, in, dg, db);
                });
              });
  return y;
}

}  // namespace scrawl::ops
