#pragma once
#include <functional>
#include <memory>
#include <vector>

namespace scrawl {

class Device;
namespace cuda {
class Graph;
}

/// Kernels that were captured instead of run, to be run again and again with one call: a CUDA graph on cuda,
/// a list of calls on cpu and simt, which find out on any machine what must not change between two replays.
/// What may change lies in device memory: inputs, random state, learning rate.  It outlives no device.
class Graph {
 public:
  Graph() = default;  // empty
  explicit operator bool() const { return captured_ || !calls_.empty(); }
  void replay() const;

 private:
  friend class Device;
  Device* device_ = nullptr;
  std::shared_ptr<void> memory_;  // shared by all graphs of a device: lets their memory go with the last one
  std::vector<std::function<void()>> calls_;
  std::shared_ptr<cuda::Graph> captured_;
};

}  // namespace scrawl
