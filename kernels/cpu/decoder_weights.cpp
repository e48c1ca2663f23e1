// The decoder's products between weights, one after another: each is large enough for all cores.
#include "kernels/decoder_weights.h"

#include "kernels/matmul.h"

namespace scrawl::cpu {
namespace {

constexpr int kLevels = DecoderWeights::kLevels;

const float* fuse_block(const DecoderWeights& p, int level) {
  return p.fuse + p.fuse_column(level);
}

void fuse_backward(const DecoderWeightsBackward& args, int level, Queue& queue) {
  const DecoderWeights& p = args.parameters;
  MatMul product{.name = args.name,
                 .transpose_b = true,
                 .m = p.width,
                 .n = p.width,
                 .k = p.channels[level],
                 .a = args.dg[level],
                 .lda = p.channels[level],
                 .b = p.weights[level],
                 .ldb = p.channels[level],
                 .c = args.dfuse.data + p.fuse_column(level),
                 .ldc = p.fuse_stride(),
                 .accumulate = args.dfuse.accumulate};
  run(product, queue);
  product.transpose_b = false;  // db b_iᵀ
  product.k = 1;
  product.a = args.db;
  product.lda = 1;
  product.b = p.biases[level];
  product.ldb = p.width;
  product.accumulate = true;
  run(product, queue);
}

void level_backward(const DecoderWeightsBackward& args, int level, Queue& queue) {
  const DecoderWeights& p = args.parameters;
  if (const auto& to = args.dweights[level]; to.data)
    run(MatMul{.name = args.name,
               .transpose_a = true,
               .m = p.width,
               .n = p.channels[level],
               .k = p.width,
               .a = fuse_block(p, level),
               .lda = p.fuse_stride(),
               .b = args.dg[level],
               .ldb = p.channels[level],
               .c = to.data,
               .ldc = p.channels[level],
               .accumulate = to.accumulate},
        queue);
  if (const auto& to = args.dbiases[level]; to.data)
    run(MatMul{.name = args.name,
               .m = 1,
               .n = p.width,
               .k = p.width,
               .a = args.db,
               .lda = p.width,
               .b = fuse_block(p, level),
               .ldb = p.fuse_stride(),
               .c = to.data,
               .ldc = p.width,
               .accumulate = to.accumulate},
        queue);
}

}  // namespace

void run(const DecoderPremultiply& args, Queue& queue) {
  const DecoderWeights& p = args.parameters;
  for (int level = 0; level < kLevels; ++level) {
    run(MatMul{.name = args.name,
               .c_dtype = args.dtype,
               .m = p.width,
               .n = p.channels[level],
               .k = p.width,
               .a = fuse_block(p, level),
               .lda = p.fuse_stride(),
               .b = p.weights[level],
               .ldb = p.channels[level],
               .c = args.g[level],
               .ldc = p.channels[level]},
        queue);
    run(MatMul{.name = args.name,
               .transpose_b = true,
               .m = 1,
               .n = p.width,
               .k = p.width,
               .a = p.biases[level],
               .lda = p.width,
               .b = fuse_block(p, level),
               .ldb = p.fuse_stride(),
               .c = args.bias,
               .ldc = p.width,
               .accumulate = level > 0},
        queue);
  }
}

void run(const DecoderWeightsBackward& args, Queue& queue) {
  for (int level = 0; level < kLevels; ++level) {
    if (args.dfuse.data) fuse_backward(args, level, queue);
    level_backward(args, level, queue);
  }
}

}  // namespace scrawl::cpu
