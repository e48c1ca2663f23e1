#include "kernels/cuda/runtime/readback.h"

#include "kernels/cuda/runtime/check.h"
#include "kernels/cuda/runtime/queue.h"

namespace scrawl::cuda {

Readback::Readback(Queue& queue, int capacity) : queue_(queue), capacity_(capacity) {
  void* ring = nullptr;
  check(cudaMallocHost(&ring, capacity * sizeof(float)), "pinned memory for numbers to read back");
  ring_ = static_cast<float*>(ring);
  check(cudaEventCreateWithFlags(&mark_, cudaEventDisableTiming), "event for numbers to read back");
}

Readback::~Readback() {
  cudaStreamSynchronize(queue_.stream());
  if (mark_) cudaEventDestroy(mark_);
  cudaFreeHost(ring_);
}

void Readback::push(const float* device_number) {
  if (pushed_ - taken_ == capacity_)
    throw std::runtime_error("more than " + std::to_string(capacity_) + " numbers wait to be read back");
  check(cudaMemcpyAsync(ring_ + pushed_ % capacity_, device_number, sizeof(float), cudaMemcpyDeviceToHost,
                        queue_.stream()),
        "reading a number back from the GPU");
  ++pushed_;
}

std::vector<float> Readback::arrived() {
  std::vector<float> numbers;
  if (marked_ > taken_) {
    check(cudaEventSynchronize(mark_), "waiting for numbers from the GPU");
    numbers = take_until(marked_);
  }
  check(cudaEventRecord(mark_, queue_.stream()), "marking numbers to read back");
  marked_ = pushed_;
  return numbers;
}

std::vector<float> Readback::rest() {
  queue_.synchronise();
  return take_until(pushed_);
}

std::vector<float> Readback::take_until(int64_t end) {
  std::vector<float> numbers;
  for (; taken_ < end; ++taken_) numbers.push_back(ring_[taken_ % capacity_]);
  return numbers;
}

}  // namespace scrawl::cuda
