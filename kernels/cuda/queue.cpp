#include "kernels/cuda/queue.h"

#include <algorithm>

#include "kernels/cuda/check.h"
#include "kernels/cuda/matmul_plans.h"

namespace scrawl::cuda {

namespace {

constexpr int64_t kBlasWorkspaceBytes = 32 << 20;  // what cuBLAS recommends for Hopper

}  // namespace

Queue::Queue(const Options& options) : options_(options) {
  const std::string device = "CUDA device " + std::to_string(options.device);
  check(cudaSetDevice(options.device), device);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, options.device), device);
  device_name_ = properties.name;
  compute_capability_ = 10 * properties.major + properties.minor;
  multiprocessors_ = properties.multiProcessorCount;
  shared_bytes_limit_ = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  if (compute_capability_ < 80)
    throw std::runtime_error(device + ", " + device_name_ + ": needs compute capability 8.0, has " +
                             std::to_string(properties.major) + "." + std::to_string(properties.minor));
  // Not blocking: the legacy default stream must not serialise with ours.
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), device + ": stream");
  check(cublasLtCreate(&blas_), device + ": cuBLASLt");
  check(cudaMalloc(&blas_workspace_, kBlasWorkspaceBytes), device + ": workspace of cuBLASLt");
  matmul_plans_ = std::make_unique<MatMulPlans>(blas_, kBlasWorkspaceBytes, options.tf32);
}

Queue::~Queue() {
  cudaStreamSynchronize(stream_);
  for (float* buffer : scratch_) cudaFree(buffer);
  cudaFree(blas_workspace_);
  if (blas_) cublasLtDestroy(blas_);
  if (stream_) cudaStreamDestroy(stream_);
}

int64_t Queue::blas_workspace_bytes() const {
  return kBlasWorkspaceBytes;
}

float* Queue::scratch(int64_t elements) {
  if (elements > scratch_capacity_ || scratch_.empty()) {
    const int64_t capacity = std::max({elements, 2 * scratch_capacity_, int64_t{1024}});
    const int64_t bytes = capacity * static_cast<int64_t>(sizeof(float));
    void* buffer = nullptr;
    check(cudaMalloc(&buffer, bytes), "scratch memory of " + std::to_string(bytes) + " bytes");
    scratch_.push_back(static_cast<float*>(buffer));
    scratch_capacity_ = capacity;
    scratch_total_ += bytes;
  }
  return scratch_.back();
}

void Queue::synchronise() {
  check(cudaStreamSynchronize(stream_), "waiting for kernels on " + device_name_);
}

}  // namespace scrawl::cuda
