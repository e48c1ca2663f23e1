#pragma once
// Each backend has a queue: the place where its kernels run one after another.  Kernels are plain functions
// `void run(const Arguments&, Queue&)` in the backend's namespace.
#include <cstdint>

namespace scrawl {
/// How many counters kernels of a GPU's queue have; see kernels/cuda/device/last_block.cuh.
inline constexpr int64_t kCounters = 4096;
/// Of GPUs that run them: bf16 matrix fragments and asynchronous copies came with 8.0.
inline constexpr int kLeastComputeCapability = 80;
}  // namespace scrawl

namespace scrawl::cpu {
class Queue;
}
namespace scrawl::cuda {
class Queue;
}
namespace scrawl::cudnn {
class Queue;  // a cuda::Queue whose convolutions and batch norms are cuDNN's
}
namespace scrawl::simt {
class Queue;
}
