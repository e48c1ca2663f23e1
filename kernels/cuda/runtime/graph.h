#pragma once
#include <memory>

struct CUgraphExec_st;

namespace scrawl::cuda {

class Queue;

/// Captured kernels, ready to be launched on their queue with one call.  The queue must outlive it.
class Graph {
 public:
  Graph(CUgraphExec_st* executable, Queue& queue) : executable_(executable), queue_(queue) {}
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void launch() const;

 private:
  CUgraphExec_st* executable_;
  Queue& queue_;
};

/// While it lives, what is launched on the queue is captured instead of run.  Kernels must have run once
/// before: plans are then there.
class Capture {
 public:
  explicit Capture(Queue& queue);
  /// Abandons what was captured, unless finish() was called.
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  std::shared_ptr<Graph> finish();

 private:
  Queue& queue_;
  bool open_ = true;
};

}  // namespace scrawl::cuda
