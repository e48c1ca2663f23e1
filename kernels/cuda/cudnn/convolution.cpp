// Convolutions by cuDNN.  Its operands are all of one type, so for bf16 the
// gradient of the weights comes out rounded to bf16 before it becomes fp32.  The bias gradient is our own sum
// over columns, in fp32.
#include "kernels/convolution.h"

#include "kernels/bf16.h"
#include "kernels/cast.h"
#include "kernels/column_sum.h"
#include "kernels/cuda/cudnn/convolution_plans.h"
#include "kernels/cuda/cudnn/library.h"
#include "kernels/cuda/cudnn/queue.h"

namespace scrawl::cudnn {

namespace {

constexpr float kOne = 1.0f, kZero = 0.0f;

/// What an old value is multiplied by before the result is added.
const float* kept(bool accumulate) {
  return accumulate ? &kOne : &kZero;
}

/// Scratch of a number of bytes, in whole units of 256.
Scratch scratch(Queue& queue, size_t bytes) {
  return queue.scratch(static_cast<int64_t>((bytes + 255) / 256 * 64));
}

}  // namespace

void run(const ConvolutionForward& args, Queue& queue) {
  if (args.shape.outputs() == 0) return;
  const ConvolutionPlan& plan = queue.convolution_plans().plan(args);
  const auto what = [&] { return describe(args); };
  const auto [algorithm, bytes] = *plan.forward;
  const Scratch workspace = scratch(queue, bytes);
  check(library().convolution_forward(queue.handle(), &kOne, plan.x.get(), args.x, plan.w.get(), args.w,
                                      plan.convolution.get(), algorithm, workspace.data(), bytes, &kZero,
                                      plan.y.get(), args.y),
        what);
  if (args.bias)
    check(
        library().add_tensor(queue.handle(), &kOne, plan.bias.get(), args.bias, &kOne, plan.y.get(), args.y),
        what);
  if (queue.options().synchronise_each_launch) queue.synchronise();
}

void run(const ConvolutionBackwardInput& args, Queue& queue) {
  if (args.shape.outputs() == 0) return cuda::run(args, queue);  // nothing to add, but dx may be set
  const ConvolutionPlan& plan = queue.convolution_plans().plan(args);
  const auto [algorithm, bytes] = *plan.backward_input;
  const Scratch workspace = scratch(queue, bytes);
  check(library().convolution_backward_input(queue.handle(), &kOne, plan.w.get(), args.w, plan.y.get(),
                                             args.dy, plan.convolution.get(), algorithm, workspace.data(),
                                             bytes, kept(args.accumulate), plan.x.get(), args.dx),
        [&] { return describe(args); });
  if (queue.options().synchronise_each_launch) queue.synchronise();
}

void run(const ConvolutionBackwardWeight& args, Queue& queue) {
  if (args.shape.outputs() == 0) return cuda::run(args, queue);
  if (args.dbias)
    run(ColumnSum{.dtype = args.dtype,
                  .x = args.dy,
                  .sum = args.dbias,
                  .rows = args.shape.outputs() / args.shape.out_channels,
                  .columns = args.shape.out_channels,
                  .accumulate = args.accumulate},
        static_cast<cuda::Queue&>(queue));
  const ConvolutionPlan& plan = queue.convolution_plans().plan(args);
  const auto [algorithm, bytes] = *plan.backward_weight;
  const bool direct = args.dtype == DType::f32;
  const size_t rounded_bytes = direct ? 0 : (args.shape.weights() * size_of(args.dtype) + 255) / 256 * 256;
  const Scratch both = scratch(queue, rounded_bytes + bytes);
  auto* rounded = reinterpret_cast<std::byte*>(both.data());
  void* dw = direct ? static_cast<void*>(args.dw) : rounded;
  check(library().convolution_backward_weight(
            queue.handle(), &kOne, plan.x.get(), args.x, plan.y.get(), args.dy, plan.convolution.get(),
            algorithm, rounded + rounded_bytes, bytes, kept(direct && args.accumulate), plan.w.get(), dw),
        [&] { return describe(args); });
  if (!direct)
    run(Cast{.from = args.dtype,
             .x = rounded,
             .y = args.dw,
             .elements = args.shape.weights(),
             .accumulate = args.accumulate},
        static_cast<cuda::Queue&>(queue));
  if (queue.options().synchronise_each_launch) queue.synchronise();
}

}  // namespace scrawl::cudnn
