// cuBLASLt clears a counter of four bytes ahead of some products.  Captured, that is a memset node, and in a
// graph with branches its neighbours wait for it: some 9 µs in all on an H200, where a kernel takes 2.
#include "kernels/cuda/runtime/graph_clears.h"

#include <cstddef>
#include <type_traits>
#include <vector>

#include "kernels/cuda/runtime/check.h"

namespace scrawl::cuda {

namespace {

constexpr unsigned kMostBytes = 1024;  // a block of threads sets

std::vector<cudaGraphNode_t> nodes_of(cudaGraph_t graph) {
  size_t count = 0;
  check(cudaGraphGetNodes(graph, nullptr, &count), "nodes of a graph");
  std::vector<cudaGraphNode_t> nodes(count);
  check(cudaGraphGetNodes(graph, nodes.data(), &count), "nodes of a graph");
  return nodes;
}

/// Calls a function of edges, which since CUDA 13 also takes their data: `ahead`, the data, `last`.
template <typename Function, typename Last, typename... Ahead>
void call_of_edges(Function function, Last last, Ahead... ahead) {
  if constexpr (std::is_invocable_v<Function, Ahead..., std::nullptr_t, Last>)
    check(function(ahead..., nullptr, last), "edges of a graph");
  else
    check(function(ahead..., last), "edges of a graph");
}

/// What a node waits for, or what waits for it.
template <typename Get>
std::vector<cudaGraphNode_t> neighbours(Get get, cudaGraphNode_t node) {
  size_t count = 0;
  cudaGraphNode_t* const none = nullptr;
  call_of_edges(get, &count, node, none);
  std::vector<cudaGraphNode_t> nodes(count);
  call_of_edges(get, &count, node, nodes.data());
  return nodes;
}

cudaGraphNodeType type_of(cudaGraphNode_t node) {
  cudaGraphNodeType type{};
  check(cudaGraphNodeGetType(node, &type), "type of a node");
  return type;
}

/// The product's own.
void take_priority(cudaGraphNode_t node, const std::vector<cudaGraphNode_t>& followers) {
  if (followers.empty() || type_of(followers.front()) != cudaGraphNodeTypeKernel) return;
  cudaKernelNodeAttrValue value{};
  check(cudaGraphKernelNodeGetAttribute(followers.front(), cudaLaunchAttributePriority, &value),
        "priority of a node");
  check(cudaGraphKernelNodeSetAttribute(node, cudaLaunchAttributePriority, &value), "priority of a node");
}

void replace(cudaGraph_t graph, cudaGraphNode_t clear, cudaMemsetParams memory) {
  const auto before = neighbours(cudaGraphNodeGetDependencies, clear),
             after = neighbours(cudaGraphNodeGetDependentNodes, clear);
  void* arguments[] = {&memory.dst, &memory.value, &memory.elementSize};
  const cudaKernelNodeParams launch{.func = set_bytes_kernel(),
                                    .gridDim = {1},
                                    .blockDim = {static_cast<unsigned>(memory.width * memory.elementSize)},
                                    .sharedMemBytes = 0,
                                    .kernelParams = arguments,
                                    .extra = nullptr};
  cudaGraphNode_t kernel = nullptr;
  check(cudaGraphAddKernelNode(&kernel, graph, before.data(), before.size(), &launch), "adding a node");
  for (const cudaGraphNode_t follower : after)
    call_of_edges(cudaGraphAddDependencies, size_t{1}, graph, &kernel, &follower);
  take_priority(kernel, after);
  check(cudaGraphDestroyNode(clear), "removing a node");
}

}  // namespace

void clear_by_kernels(cudaGraph_t graph) {
  for (const cudaGraphNode_t node : nodes_of(graph)) {
    if (type_of(node) != cudaGraphNodeTypeMemset) continue;
    cudaMemsetParams memory{};
    check(cudaGraphMemsetNodeGetParams(node, &memory), "a memset node");
    if (memory.height == 1 && memory.width * memory.elementSize <= kMostBytes) replace(graph, node, memory);
  }
}

}  // namespace scrawl::cuda
