// Backwards, with dz_i = up_iᵀ(dy) and db = Σ_rows dy (interpolation weights sum to one, so all levels share
// it):
//   dG_i = dz_iᵀ x_i,  dx_i = dz_i G_i,  dF_i = dG_i W_iᵀ + db b_iᵀ,  dW_i = F_iᵀ dG_i,  db_i = F_iᵀ db.
// All products but those with x_i are between small matrices.  Neighbouring levels of one size share dz_i.
#include "kernels/decoder_fuse.h"

#include <utility>

#include "engine/ops.h"
#include "engine/ops/linear.h"
#include "kernels/decoder_weights.h"
#include "kernels/matmul_group.h"
#include "kernels/upsample.h"

namespace scrawl::ops {
namespace {

constexpr int kLevels = DecoderWeights::kLevels;

DecoderWeights parameters_of(const DecoderProducts& products) {
  DecoderWeights p{.width = static_cast<int>(products.fuse.dim(0)), .fuse = products.fuse.data<float>()};
  for (int i = 0; i < kLevels; ++i) {
    p.channels[i] = static_cast<int>(products.weights[i].dim(1));
    p.weights[i] = products.weights[i].data<float>();
    p.biases[i] = products.biases[i].data<float>();
  }
  return p;
}

/// For z of a level's map, which is checked.
Tensor place_for(const Tensor& map, int level, const DecoderProducts& products) {
  const Tensor& g = products.g[level];
  require(map.shape().rank() == 4 && map.dim(3) == g.dim(1) && map.dtype() == g.dtype(),
          "decoder_fuse: level {}: map {}, product {}", level + 1, map.shape().text(), g.shape().text());
  return Tensor(map.device(), map.shape().with_last(g.dim(0)), map.dtype());
}

/// z = x Gᵀ [N,H_i,W_i,D].
void project(Device& device, const Tensor& map, const Tensor& g, const Tensor& z) {
  MatMul product = linear_product(map, g, {});
  product.name = "decoder_fuse.project";
  product.c = z.raw();
  device.run(product);
}

bool same_grid(const Tensor& a, const Tensor& b) {
  return a.dim(1) == b.dim(1) && a.dim(2) == b.dim(2);
}

/// dz = up_iᵀ(dy) [N,H_i,W_i,D].
void down(Device& device, const Tensor& dy, const Tensor& dz) {
  device.run(UpsampleBackward{.dtype = dy.dtype(),
                              .shape = {.images = dy.dim(0),
                                        .in_height = static_cast<int>(dz.dim(1)),
                                        .in_width = static_cast<int>(dz.dim(2)),
                                        .out_height = static_cast<int>(dy.dim(1)),
                                        .out_width = static_cast<int>(dy.dim(2)),
                                        .channels = static_cast<int>(dy.dim(3))},
                              .dy = dy.raw(),
                              .dx = dz.raw()});
}

/// dx (+)= dz G.
void map_backward(Device& device, const Tensor& dz, const Tensor& g, const GradientTarget& dx) {
  if (!dx.data) return;
  MatMul product = input_gradient(dz, g);
  product.name = "decoder_fuse.backward_input";
  product.c = dx.data;
  product.accumulate = dx.accumulate;
  device.run(product);
}

/// dz_i, which are returned, and dx_i: of the coarsest level at once, since the encoder's last stage waits
/// for that, of the others aside.
std::array<Tensor, kLevels> maps_backward(Device& device, const std::array<Tensor, kLevels>& maps,
                                          const std::array<Tensor, kLevels>& g, const Tensor& dy) {
  constexpr int kLast = kLevels - 1;
  std::array<Tensor, kLevels> dz, dx;  // kept as long as they are written aside
  std::array<GradientTarget, kLevels> to;
  const auto shared = [&](int i) { return i > 0 && i < kLast && same_grid(maps[i], maps[i + 1]); };
  std::array<bool, kLevels> resized{};
  for (int i = kLast; i >= 0; --i) {
    resized[i] = i > 0 && !shared(i);
    dz[i] = i == 0      ? dy
            : shared(i) ? dz[i + 1]
                        : Tensor(device, maps[i].shape().with_last(dy.dim(3)), dy.dtype());
    to[i] = gradient_target(device, maps[i].gradient(), maps[i].shape(), maps[i].dtype());
    if (to[i].data) dx[i] = maps[i].gradient()->value;
  }
  const auto level = [=, &device](int i) {
    if (resized[i]) down(device, dy, dz[i]);
    map_backward(device, dz[i], g[i], to[i]);
  };
  level(kLast);
  const Device::Aside others = device.aside([level, dx] {
    for (int i = kLast - 1; i >= 0; --i) level(i);
  });
  for (int i = 0; i < kLast; ++i)
    if (to[i].data) maps[i].gradient()->under_way = others;
  return dz;
}

/// dG_i = dz_iᵀ x_i, in fp32.  Level 0 also makes db: its product reads dy anyway.
void products_backward(Device& device, const std::array<Tensor, kLevels>& maps,
                       const std::array<Tensor, kLevels>& dz, const std::array<Tensor, kLevels>& dg,
                       const Tensor& db) {
  MatMulGroup group{.name = "decoder_fuse.backward_weight", .products = {}};
  for (int i = 0; i < kLevels; ++i) {
    const Tensor& x = maps[i];
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
void parameters_backward(Device& device, const DecoderProducts& products,
                         const std::array<Tensor, kLevels>& dg, const Tensor& db) {
  const auto target = [&](const Tensor& parameter) {
    const auto to = gradient_target(device, parameter.gradient(), parameter.shape());
    return DecoderWeightsBackward::Target{to.f32(), to.accumulate};
  };
  DecoderWeightsBackward args{
      .parameters = parameters_of(products), .db = db.data<float>(), .dfuse = target(products.fuse)};
  for (int i = 0; i < kLevels; ++i) {
    args.dg[i] = dg[i].data<float>();
    args.dweights[i] = target(products.weights[i]);
    args.dbiases[i] = target(products.biases[i]);
  }
  device.run(args);
}

}  // namespace

DecoderProducts decoder_products(Device& device, const std::array<Tensor, 4>& weights,
                                 const std::array<Tensor, 4>& biases, const Tensor& fuse, DType map_dtype) {
  require(fuse.shape().rank() == 2 && fuse.dim(1) == kLevels * fuse.dim(0),
          "decoder_products: fuse weight {}", fuse.shape().text());
  const int64_t width = fuse.dim(0);
  DecoderProducts products{.weights = weights,
                           .biases = biases,
                           .fuse = fuse,
                           .g = {},
                           .bias = Tensor(device, {width}),
                           .z = {},
                           .under_way = 0};
  for (int i = 0; i < kLevels; ++i) {
    require(weights[i].shape().rank() == 2 && weights[i].dim(0) == width && biases[i].shape() == Shape{width},
            "decoder_products: level {}: weight {}, bias {}, width {}", i + 1, weights[i].shape().text(),
            biases[i].shape().text(), width);
    products.g[i] = Tensor(device, weights[i].shape(), map_dtype);
  }
  products.under_way = device.aside([products, &device] {
    DecoderPremultiply args{.dtype = products.g[0].dtype(), .parameters = parameters_of(products)};
    for (int i = 0; i < kLevels; ++i) args.g[i] = products.g[i].raw();
    args.bias = products.bias.data<float>();
    device.run(args);
  });
  return products;
}

void decoder_project(DecoderProducts& products, int level, const Tensor& map) {
  Device& device = map.device();
  const Tensor z = products.z[level] = place_for(map, level, products);
  products.under_way = device.aside([&device, map, g = products.g[level], z] { project(device, map, g, z); });
}

Tensor decoder_fuse(Tape& tape, const std::array<Tensor, 4>& maps, DecoderProducts products) {
  Device& device = tape.device();
  device.join(products.under_way);
  for (int i = 0; i < kLevels; ++i) {
    require(maps[i].dim(0) == maps[0].dim(0), "decoder_fuse: level {}: map {}", i + 1,
            maps[i].shape().text());
    if (products.z[i].defined()) continue;
    products.z[i] = place_for(maps[i], i, products);
    project(device, maps[i], products.g[i], products.z[i]);
  }
  const int64_t width = products.fuse.dim(0);
  DecoderFuseForward forward{.dtype = maps[0].dtype(),
                             .bias = products.bias.data<float>(),
                             .images = maps[0].dim(0),
                             .channels = static_cast<int>(width)};
  const std::array<Tensor, kLevels> z = std::exchange(products.z, {});
  for (int i = 0; i < kLevels; ++i) {
    forward.z[i] = z[i].raw();
    forward.heights[i] = static_cast<int>(maps[i].dim(1));
    forward.widths[i] = static_cast<int>(maps[i].dim(2));
  }
  Tensor y(device, maps[0].shape().with_last(width), maps[0].dtype());
  forward.y = y.raw();
  device.run(forward);

  const auto &weights = products.weights, &biases = products.biases;
  tape.record(y,
              {&maps[0], &maps[1], &maps[2], &maps[3], &weights[0], &weights[1], &weights[2], &weights[3],
               &biases[0], &biases[1], &biases[2], &biases[3], &products.fuse},
              [maps, products, width, &device](const Tensor& dy) {
                const Tensor db(device, {width});
                const auto dz = maps_backward(device, maps, products.g, dy);
                std::array<Tensor, kLevels> dg;
                for (int i = 0; i < kLevels; ++i) dg[i] = Tensor(device, products.g[i].shape());
                device.aside([=, &device] {
                  products_backward(device, maps, dz, dg, db);
                  parameters_backward(device, products, dg, db);
                });
              });
  return y;
}

}  // namespace scrawl::ops
