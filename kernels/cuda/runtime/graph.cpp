#include "kernels/cuda/runtime/graph.h"

#include "kernels/cuda/runtime/check.h"
#include "kernels/cuda/runtime/graph_clears.h"
#include "kernels/cuda/runtime/queue.h"

namespace scrawl::cuda {

Graph::~Graph() {
  cudaGraphExecDestroy(executable_);
}

void Graph::launch() const {
  check(cudaGraphLaunch(executable_, queue_.stream()), "launching a captured graph");
}

// Relaxed: the allocator may ask for memory that the capture is the first to need.
Capture::Capture(Queue& queue) : queue_(queue) {
  check(cudaStreamBeginCapture(queue.stream(), cudaStreamCaptureModeRelaxed), "beginning to capture a graph");
}

Capture::~Capture() {
  if (open_) {
    cudaGraph_t abandoned = nullptr;
    cudaStreamEndCapture(queue_.stream(), &abandoned);
    if (abandoned) cudaGraphDestroy(abandoned);
  }
  queue_.forget_beside();  // there are some only when it failed
}

std::shared_ptr<Graph> Capture::finish() {
  open_ = false;
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(queue_.stream(), &graph), "capturing a graph");
  clear_by_kernels(graph);
  cudaGraphExec_t executable = nullptr;
  // Without the flag all nodes have the priority of the stream that the graph is launched on.
  const cudaError_t status =
      cudaGraphInstantiate(&executable, graph, cudaGraphInstantiateFlagUseNodePriority);
  cudaGraphDestroy(graph);
  check(status, "making a captured graph executable");
  return std::make_shared<Graph>(executable, queue_);
}

}  // namespace scrawl::cuda
