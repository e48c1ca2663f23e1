#include "engine/graph.h"

#include "engine/device.h"
#include "engine/error.h"
#ifdef SCRAWL_CUDA
#include "kernels/cuda/runtime/graph.h"
#endif

namespace scrawl {

Graph Device::capture(const std::function<void()>& body) {
  require(!capturing(), "a capture within a capture");
  join();  // what runs aside is not of the capture
  Graph graph;
  graph.device_ = this;
  graph.memory_ = captures_.lock();
  if (!graph.memory_) {
    graph.memory_ = std::shared_ptr<Device>(this, [](Device* device) { device->memory_.end_captures(); });
    captures_ = graph.memory_;
  }
  capturing_ = &graph;
  memory_.use(Allocator::Pool::captured);
  const std::shared_ptr<void> end(nullptr, [this](void*) {
    memory_.use(Allocator::Pool::ordinary);
    capturing_ = nullptr;
    forget_asides();  // there are some only when `body` failed
  });
#ifdef SCRAWL_CUDA
  if (cuda::Queue* queue = cuda_queue()) {
    cuda::Capture capture(*queue);
    body();
    graph.captured_ = capture.finish();
    return graph;
  }
#endif
  body();
  return graph;
}

void Graph::replay() const {
  require(static_cast<bool>(*this), "nothing was captured");
#ifdef SCRAWL_CUDA
  if (captured_) {
    device_->join();  // kernels of the graph that run aside use what those aside now do
    return captured_->launch();
  }
#endif
  for (const auto& call : calls_) call();
}

}  // namespace scrawl
