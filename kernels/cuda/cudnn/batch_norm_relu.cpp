// Batch norm of a training step by cuDNN, between passes of our own for ReLU and dropout.  With the running
// statistics, with a single row (whose unbiased variance cuDNN divides by zero) and for some of the gradients
// only, which it does not have, our own kernels serve.
#include "kernels/batch_norm_relu.h"

#include "kernels/cuda/cudnn/descriptors.h"
#include "kernels/cuda/cudnn/library.h"
#include "kernels/cuda/cudnn/queue.h"
#include "kernels/cuda/norm/relu_dropout.h"

namespace scrawl::cudnn {

namespace {

constexpr float kOne = 1.0f, kZero = 0.0f;
constexpr auto kMode = CUDNN_BATCHNORM_SPATIAL;  // one mean and variance a channel

/// "cudnn batch_norm_relu.forward, [6400, 256] in bf16"
template <typename Kernel>
std::string describe(const Kernel& args) {
  return fmt::format("cudnn {}, [{}, {}] in {}", args.name, args.rows(), args.channels, name_of(args.dtype));
}

struct Descriptions {
  Tensor rows, channels;
  template <typename Kernel>
  explicit Descriptions(const Kernel& args)
      : rows(describe_map(args.dtype, 1, args.rows(), 1, args.channels)),
        channels(describe_map(DType::f32, 1, 1, 1, args.channels)) {}
};

}  // namespace

void run(const BatchNormReluForward& args, Queue& queue) {
  if (!args.training || args.rows() < 2) return cuda::run(args, queue);
  const Descriptions of(args);
  check(
      library().batch_norm_forward(queue.handle(), kMode, &kOne, &kZero, of.rows.get(), args.x, of.rows.get(),
                                   args.y, of.channels.get(), args.gamma, args.beta, args.momentum,
                                   args.running_mean, args.running_var, args.eps, args.mean, args.rstd),
      [&] { return describe(args); });
  if (queue.options().synchronise_each_launch) queue.synchronise();
  cuda::relu_dropout(args, queue);
}

void run(const BatchNormReluBackward& args, Queue& queue) {
  if (args.rows() < 2 || !args.dx || !args.dgamma) return cuda::run(args, queue);
  const Scratch dz = queue.scratch(args.rows() * args.channels);  // enough for both types
  cuda::relu_dropout_backward(args, dz.data(), queue);
  const Descriptions of(args);
  const float* kept_parameters = args.accumulate_parameters ? &kOne : &kZero;
  constexpr double kEps = 1e-5;  // not looked at: rstd holds it already
  check(library().batch_norm_backward(queue.handle(), kMode, &kOne, &kZero, &kOne, kept_parameters,
                                      of.rows.get(), args.x, of.rows.get(), dz.data(), of.rows.get(), args.dx,
                                      of.channels.get(), args.gamma, args.dgamma, args.dbeta, kEps, args.mean,
                                      args.rstd),
        [&] { return describe(args); });
  if (queue.options().synchronise_each_launch) queue.synchronise();
}

}  // namespace scrawl::cudnn
