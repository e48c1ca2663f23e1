#include "kernels/cuda/runtime/uploads.h"

#include "kernels/cuda/runtime/check.h"
#include "kernels/cuda/runtime/queue.h"

namespace scrawl::cuda {

Uploads::Uploads(Queue& queue) : queue_(queue) {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream for uploads");
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "event for uploads");
}

Uploads::~Uploads() {
  cudaStreamSynchronize(stream_);
  if (event_) cudaEventDestroy(event_);
  if (stream_) cudaStreamDestroy(stream_);
}

void Uploads::start(void* device, const void* pinned, int64_t bytes) {
  check(cudaMemcpyAsync(device, pinned, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_),
        [&] { return fmt::format("copying {} bytes to the GPU beside its kernels", bytes); });
}

void Uploads::after_kernels() {
  let_wait(stream_, queue_.stream());
}

void Uploads::before_kernels() {
  let_wait(queue_.stream(), stream_);
}

void Uploads::let_wait(CUstream_st* waiting, CUstream_st* for_stream) {
  // A stream waits for what the event marks now; recording it again later changes nothing for it.
  check(cudaEventRecord(event_, for_stream), "marking uploads");
  check(cudaStreamWaitEvent(waiting, event_, 0), "ordering uploads and kernels");
}

}  // namespace scrawl::cuda
