#include "kernels/cuda/runtime/memory.h"

#include "kernels/cuda/runtime/check.h"

namespace scrawl::cuda {

std::byte* allocate(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the caller reports it: the next call must not find it again
    return nullptr;
  }
  check(status, [&] { return fmt::format("allocating {} bytes of GPU memory", bytes); });
  return static_cast<std::byte*>(memory);
}

void release(std::byte* memory) {
  cudaFree(memory);
}

void fill(std::byte* memory, std::byte value, int64_t bytes) {
  check(cudaDeviceSynchronize(), "waiting for the GPU");
  check(cudaMemset(memory, std::to_integer<int>(value), static_cast<size_t>(bytes)), "filling GPU memory");
  check(cudaDeviceSynchronize(), "waiting for the GPU");
}

void copy_to_host(std::byte* host, const std::byte* memory, int64_t bytes) {
  check(cudaDeviceSynchronize(), "waiting for the GPU");
  check(cudaMemcpy(host, memory, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost), "reading GPU memory");
}

int64_t free_bytes() {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for the GPU's free memory");
  return static_cast<int64_t>(free);
}

std::byte* allocate_pinned(int64_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, static_cast<size_t>(bytes)),
        [&] { return fmt::format("allocating {} bytes of pinned memory", bytes); });
  return static_cast<std::byte*>(memory);
}

void release_pinned(std::byte* memory) {
  cudaFreeHost(memory);
}

void copy_to_device(void* device, const void* host, int64_t bytes, Queue& queue) {
  // From pageable memory the call returns once the bytes are staged, so that they may be reused.
  check(cudaMemcpyAsync(device, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, queue.stream()),
        [&] { return fmt::format("copying {} bytes to the GPU", bytes); });
}

void copy_to_host(void* host, const void* device, int64_t bytes, Queue& queue) {
  check(cudaMemcpyAsync(host, device, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, queue.stream()),
        [&] { return fmt::format("copying {} bytes from the GPU", bytes); });
  queue.synchronise();
}

}  // namespace scrawl::cuda
