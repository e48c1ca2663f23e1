#pragma once
// Memory of the current GPU, for the engine's allocator.  No CUDA header is needed to include this.
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/runtime/queue.h"

namespace scrawl::cuda {

/// Device memory, aligned to 256 bytes; null when there is no more.
std::byte* allocate(int64_t bytes);
void release(std::byte* memory);
/// What is left of it.
int64_t free_bytes();

/// Host memory that the GPU copies from by itself.
std::byte* allocate_pinned(int64_t bytes);
void release_pinned(std::byte* memory);

/// Both wait for all of the GPU's work: for tests.
void fill(std::byte* memory, std::byte value, int64_t bytes);
void copy_to_host(std::byte* host, const std::byte* memory, int64_t bytes);

/// In the queue's order.  The host memory may be reused when copy_to_device returns, and is filled when
/// copy_to_host returns.
void copy_to_device(void* device, const void* host, int64_t bytes, Queue& queue);
void copy_to_host(void* host, const void* device, int64_t bytes, Queue& queue);

}  // namespace scrawl::cuda
