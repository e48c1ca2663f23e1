// Backwards, with dz_i = up_iᵀ(dy) and db = Σ_rows dy (interpolation weights sum to one, so all levels share
// it):
//   dG_i = dz_iᵀ x_i,  dx_i = dz_i G_i,  dF_i = dG_i W_iᵀ + db b_iᵀ,  dW_i = F_iᵀ dG_i,  db_i = F_iᵀ db.
// All products but those with x_i are between small matrices.  Neighbouring levels of one size share dz_i.
#include "kernels/decoder_fuse.h"

#include "engine/ops.h"
#include "kernels/matmul.h"
#include "kernels/upsample.h"

namespace scrawl::ops {
namespace {

constexpr int kLevels = 4;

struct Inputs {
  std::array<Tensor, kLevels> maps, weights, biases;
  Tensor fuse;
  int64_t width() const { return fuse.dim(0); }
  /// F_i: the columns of level i in the fuse weight; the coarsest level comes first.
  int64_t column(int level) const { return (kLevels - 1 - level) * width(); }
  const float* block(int level) const { return fuse.data<float>() + column(level); }
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

/// G_i = F_i W_i [D, C_i].
Tensor premultiplied(Device& device, const Inputs& in, int level) {
  const int64_t width = in.width(), channels = in.maps[level].dim(3);
  Tensor g(device, {width, channels}, in.maps[level].dtype());
  device.run(MatMul{.name = "decoder_fuse.premultiply",
                    .c_dtype = g.dtype(),
                    .m = width,
                    .n = channels,
                    .k = width,
                    .a = in.block(level),
                    .lda = kLevels * width,
                    .b = in.weights[level].raw(),
                    .ldb = channels,
                    .c = g.raw(),
                    .ldc = channels});
  return g;
}

/// Σ_i F_i b_i [D].
Tensor fused_bias(Device& device, const Inputs& in) {
  const int64_t width = in.width();
  Tensor bias(device, {width});
  for (int i = 0; i < kLevels; ++i)
    device.run(MatMul{.name = "decoder_fuse.premultiply",
                      .transpose_b = true,
                      .m = 1,
                      .n = width,
                      .k = width,
                      .a = in.biases[i].raw(),
                      .lda = width,
                      .b = in.block(i),
                      .ldb = kLevels * width,
                      .c = bias.raw(),
                      .ldc = width,
                      .accumulate = i > 0});
  return bias;
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

/// What goes through G_i to one level's linear and columns of the fuse weight; dg is scratch.  Level 0, the
/// first, also makes db for all of them: its product reads dy anyway.
void weights_backward(Device& device, const Inputs& in, int level, const Tensor& dz, const Tensor& dg,
                      const Tensor& db, const GradientTarget& to_fuse) {
  const Tensor& x = in.maps[level];
  const Tensor& w = in.weights[level];
  const int64_t width = in.width(), channels = x.dim(3), rows = x.shape().rows(), ld = kLevels * width;
  device.run(MatMul{.name = "decoder_fuse.backward_weight",
                    .dtype = x.dtype(),
                    .transpose_a = true,
                    .m = width,
                    .n = channels,
                    .k = rows,
                    .a = dz.raw(),
                    .lda = width,
                    .b = x.raw(),
                    .ldb = channels,
                    .c = dg.raw(),
                    .ldc = channels,
                    .a_sum = level == 0 ? db.data<float>() : nullptr});
  if (to_fuse.data) {
    float* df = to_fuse.f32() + in.column(level);
    device.run(MatMul{.name = "decoder_fuse.backward_weight",
                      .transpose_b = true,
                      .m = width,
                      .n = width,
                      .k = channels,
                      .a = dg.raw(),
                      .lda = channels,
                      .b = w.raw(),
                      .ldb = channels,
                      .c = df,
                      .ldc = ld,
                      .accumulate = to_fuse.accumulate});
    device.run(MatMul{.name = "decoder_fuse.backward_weight",
                      .m = width,
                      .n = width,
                      .k = 1,
                      .a = db.raw(),
                      .lda = 1,
                      .b = in.biases[level].raw(),
                      .ldb = width,
                      .c = df,
                      .ldc = ld,
                      .accumulate = true});
  }
  if (const auto to = gradient_target(device, w.gradient(), w.shape()); to.data)
    device.run(MatMul{.name = "decoder_fuse.backward_weight",
                      .transpose_a = true,
                      .m = width,
                      .n = channels,
                      .k = width,
                      .a = in.block(level),
                      .lda = ld,
                      .b = dg.raw(),
                      .ldb = channels,
                      .c = to.data,
                      .ldc = channels,
                      .accumulate = to.accumulate});
  if (const auto to = gradient_target(device, in.biases[level].gradient(), {width}); to.data)
    device.run(MatMul{.name = "decoder_fuse.backward_weight",
                      .m = 1,
                      .n = width,
                      .k = width,
                      .a = db.raw(),
                      .lda = width,
                      .b = in.block(level),
                      .ldb = ld,
                      .c = to.data,
                      .ldc = width,
                      .accumulate = to.accumulate});
}

}  // namespace

Tensor decoder_fuse(Tape& tape, const std::array<Tensor, 4>& maps, const std::array<Tensor, 4>& weights,
                    const std::array<Tensor, 4>& biases, const Tensor& fuse) {
  const Inputs in{maps, weights, biases, fuse};
  check(in);
  Device& device = tape.device();
  Tensor bias;
  std::array<Tensor, kLevels> g, z;
  device.aside([&] {  // small products, beside the largest one
    for (int i = 1; i < kLevels; ++i) g[i] = premultiplied(device, in, i);
    bias = fused_bias(device, in);
  });
  g[0] = premultiplied(device, in, 0);
  z[0] = projected(device, maps[0], g[0]);
  device.join();
  DecoderFuseForward forward{.dtype = maps[0].dtype(),
                             .bias = bias.data<float>(),
                             .images = maps[0].dim(0),
                             .channels = static_cast<int>(in.width())};
  for (int i = 0; i < kLevels; ++i) {
    if (i > 0) z[i] = projected(device, maps[i], g[i]);
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
              [in, g, &device](const Tensor& dy) {
                // Released together at the end, after all that runs aside.
                const Tensor db(device, {in.width()});
                std::array<Tensor, kLevels> dz, dg;
                const auto to_fuse = gradient_target(device, in.fuse.gradient(), in.fuse.shape());
                for (int i = 0; i < kLevels; ++i) {
                  dz[i] = i == 0                                  ? dy
                          : same_grid(in.maps[i], in.maps[i - 1]) ? dz[i - 1]
                                                                  : down(device, dy, in.maps[i]);
                  dg[i] = Tensor(device, g[i].shape());
                  device.aside([&] { weights_backward(device, in, i, dz[i], dg[i], db, to_fuse); });
                  map_backward(device, in.maps[i], dz[i], g[i]);
                }
                device.join();
              });
  return y;
}

}  // namespace scrawl::ops
