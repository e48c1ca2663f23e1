#include "kernels/cuda/cudnn/convolution_plans.h"

#include <array>

#include "kernels/cuda/cudnn/library.h"

namespace scrawl::cudnn {

namespace {

constexpr int kProposals = 16;                      // more than there are algorithms
constexpr size_t kMostWorkspaceBytes = 256u << 20;  // else a slower algorithm is taken

/// The first of cuDNN's proposals, fastest first as it believes, that gives the same bits in every run and
/// does not ask for too much workspace.
///   propose(most, &found, list), workspace_of(algorithm, &bytes)
template <typename Performance, typename Kernel, typename Propose, typename WorkspaceOf>
auto choose(const Kernel& args, Propose propose, WorkspaceOf workspace_of) {
  std::array<Performance, kProposals> proposals{};
  int found = 0;
  check(propose(kProposals, &found, proposals.data()),
        [&] { return describe(args) + ": choosing an algorithm"; });
  for (int i = 0; i < found; ++i) {
    const Performance& proposal = proposals[i];
    if (proposal.status != CUDNN_STATUS_SUCCESS || proposal.determinism != CUDNN_DETERMINISTIC) continue;
    Choice choice{proposal.algo};
    if (workspace_of(choice.algorithm, &choice.workspace_bytes) == CUDNN_STATUS_SUCCESS &&
        choice.workspace_bytes <= kMostWorkspaceBytes)
      return choice;
  }
  throw std::runtime_error(describe(args) + ": cuDNN has no deterministic algorithm for it");
}

}  // namespace

ConvolutionPlan& ConvolutionPlans::operands(DType dtype, const ConvolutionShape& shape) {
  if (const auto known = plans_.find({dtype, shape}); known != plans_.end()) return known->second;
  // By default fp32 is computed in fp32 all the way.
  const auto math = dtype == DType::f32 && !tf32_ ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
  ConvolutionPlan plan{
      .x = describe_map(dtype, shape.images, shape.height, shape.width, shape.channels),
      .y = describe_map(dtype, shape.images, shape.out_height(), shape.out_width(), shape.out_channels),
      .bias = describe_map(dtype, 1, 1, 1, shape.out_channels),
      .w = describe_weights(dtype, shape),
      .convolution = describe_convolution(shape, math)};
  return plans_.emplace(std::pair(dtype, shape), std::move(plan)).first->second;
}

const ConvolutionPlan& ConvolutionPlans::plan(const ConvolutionForward& args) {
  ConvolutionPlan& plan = operands(args.dtype, args.shape);
  const auto x = plan.x.get(), y = plan.y.get();
  if (!plan.forward)
    plan.forward = choose<cudnnConvolutionFwdAlgoPerf_t>(
        args,
        [&](auto... list) {
          return library().propose_forward(handle_, x, plan.w.get(), plan.convolution.get(), y, list...);
        },
        [&](auto algorithm, size_t* bytes) {
          return library().workspace_forward(handle_, x, plan.w.get(), plan.convolution.get(), y, algorithm,
                                             bytes);
        });
  return plan;
}

const ConvolutionPlan& ConvolutionPlans::plan(const ConvolutionBackwardInput& args) {
  ConvolutionPlan& plan = operands(args.dtype, args.shape);
  const auto dx = plan.x.get(), dy = plan.y.get();
  if (!plan.backward_input)
    plan.backward_input = choose<cudnnConvolutionBwdDataAlgoPerf_t>(
        args,
        [&](auto... list) {
          return library().propose_backward_input(handle_, plan.w.get(), dy, plan.convolution.get(), dx,
                                                  list...);
        },
        [&](auto algorithm, size_t* bytes) {
          return library().workspace_backward_input(handle_, plan.w.get(), dy, plan.convolution.get(), dx,
                                                    algorithm, bytes);
        });
  return plan;
}

const ConvolutionPlan& ConvolutionPlans::plan(const ConvolutionBackwardWeight& args) {
  ConvolutionPlan& plan = operands(args.dtype, args.shape);
  const auto x = plan.x.get(), dy = plan.y.get();
  if (!plan.backward_weight)
    plan.backward_weight = choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
        args,
        [&](auto... list) {
          return library().propose_backward_weight(handle_, x, dy, plan.convolution.get(), plan.w.get(),
                                                   list...);
        },
        [&](auto algorithm, size_t* bytes) {
          return library().workspace_backward_weight(handle_, x, dy, plan.convolution.get(), plan.w.get(),
                                                     algorithm, bytes);
        });
  return plan;
}

}  // namespace scrawl::cudnn
