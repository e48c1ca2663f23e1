#include "kernels/cuda/runtime/queue.h"

#include <algorithm>

#include "kernels/cuda/matmul/plans.h"
#include "kernels/cuda/runtime/check.h"
#include "kernels/queue.h"

namespace scrawl::cuda {

namespace {

constexpr int64_t kMostWorkspaceBytes = 32 << 20;  // of a product; what cuBLAS recommends for Hopper

/// CUDA's 13020 as "13.2".
std::string version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

std::string absence_of(cudaError_t status) {
  int driver = 0;
  if (status == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess) {
    if (driver == 0) return "no NVIDIA driver is installed";
    return fmt::format("the NVIDIA driver supports CUDA {}, this build needs {}", version(driver),
                       version(CUDART_VERSION));
  }
  if (status == cudaErrorNoDevice) return "no NVIDIA GPU is there, or none may be used";
  return fmt::format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace

std::string absence(int device) {
  int devices = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess)
    return absence_of(status);
  if (device >= devices) return fmt::format("GPU {} was asked for, there are {}", device, devices);
  cudaDeviceProp properties;
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, device); status != cudaSuccess)
    return absence_of(status);
  if (10 * properties.major + properties.minor < kLeastComputeCapability)
    return fmt::format("{} has compute capability {}.{}, {}.{} is needed", properties.name, properties.major,
                       properties.minor, kLeastComputeCapability / 10, kLeastComputeCapability % 10);
  return {};
}

std::string library_versions() {
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "version of the driver");
  const auto blas = static_cast<int>(cublasLtGetVersion());
  return fmt::format("CUDA {} ({}), cuBLASLt {}.{}.{}", version(CUDART_VERSION),
                     driver == 0 ? "no driver" : "driver for " + version(driver), blas / 10000,
                     blas / 100 % 100, blas % 100);
}

Queue::Queue(MemorySource& memory, const Options& options) : options_(options), memory_(memory) {
  const std::string device = fmt::format("CUDA device {}", options.device);
  if (const std::string reason = absence(options.device); !reason.empty())
    throw std::runtime_error(device + ": " + reason);
  check(cudaSetDevice(options.device), device);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, options.device), device);
  device_name_ = properties.name;
  compute_capability_ =
      options.compute_capability ? options.compute_capability : 10 * properties.major + properties.minor;
  multiprocessors_ = properties.multiProcessorCount;
  memory_bytes_ = static_cast<int64_t>(properties.totalGlobalMem);
  shared_bytes_limit_ = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  check(cublasLtCreate(&blas_), device + ": cuBLASLt");
  open(main_, Urgency::main);
  matmul_plans_ = std::make_unique<MatMulPlans>(blas_, kMostWorkspaceBytes, options.tf32);
}

Queue::~Queue() {
  for (const Lane* lane : {&main_, &aside_, &background_}) {
    if (!lane->stream) continue;
    cudaStreamSynchronize(lane->stream);
    cudaFree(lane->counters);
    cudaStreamDestroy(lane->stream);
  }
  forget_beside();
  if (fork_) spare_.push_back(fork_);
  for (CUevent_st* event : spare_) cudaEventDestroy(event);
  if (blas_) cublasLtDestroy(blas_);
}

void Queue::open(Lane& lane, Urgency urgency) {
  int lowest = 0, highest = 0;  // numbers fall as priorities rise
  check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "priorities on " + device_name_);
  const int priority = std::max(lowest - static_cast<int>(urgency), highest);
  // Not blocking: the legacy default stream must not serialise with ours.
  check(cudaStreamCreateWithPriority(&lane.stream, cudaStreamNonBlocking, priority),
        "stream of " + device_name_);
  void* counters = nullptr;
  check(cudaMalloc(&counters, kCounters * sizeof(unsigned)), "counters of kernels");
  lane.counters = static_cast<unsigned*>(counters);
  check(cudaMemsetAsync(lane.counters, 0, kCounters * sizeof(unsigned), lane.stream), "counters of kernels");
}

CUevent_st* Queue::new_event() {
  CUevent_st* event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event of " + device_name_);
  return event;
}

void Queue::turn_to(Lane& lane) {
  if (!fork_) fork_ = new_event();
  check(cudaEventRecord(fork_, main_.stream), "marking kernels");
  check(cudaStreamWaitEvent(lane.stream, fork_, 0), "ordering kernels");
  if (spare_.empty()) spare_.push_back(new_event());
  lane.runs.emplace_back(memory_, spare_.back());
  spare_.pop_back();
  lane_ = &lane;
}

void Queue::begin_aside() {
  if (!aside_.stream) open(aside_, Urgency::aside);
  turn_to(aside_);
}

void Queue::begin_background() {
  if (!background_.stream) open(background_, Urgency::background);
  turn_to(background_);
  if (!aside_.runs.empty())
    check(cudaStreamWaitEvent(background_.stream, aside_.runs.back().end, 0), "ordering kernels");
}

void Queue::end_beside() {
  check(cudaEventRecord(lane_->runs.back().end, lane_->stream), "marking kernels");
}

void Queue::join(Lane& lane) {
  if (lane.runs.empty()) return;
  check(cudaStreamWaitEvent(main_.stream, lane.runs.back().end, 0), "ordering kernels");  // and so for all
  forget(lane);
}

void Queue::join_oldest_aside() {
  if (aside_.runs.empty()) return;
  check(cudaStreamWaitEvent(main_.stream, aside_.runs.front().end, 0), "ordering kernels");
  spare_.push_back(aside_.runs.front().end);
  aside_.runs.pop_front();
}

void Queue::join() {
  join(aside_);
  join(background_);
}

void Queue::forget(Lane& lane) {
  for (const Run& run : lane.runs) spare_.push_back(run.end);
  lane.runs.clear();
}

void Queue::forget_beside() {
  forget(aside_);
  forget(background_);
}

Scratch Queue::scratch(int64_t elements) {
  if (lane_ == &main_) return {memory_, elements};
  return {lane_->runs.back().memory, elements};
}

void Queue::allow_shared_bytes(const void* kernel, int64_t bytes) {
  int64_t& allowed = allowed_shared_bytes_[kernel];
  if (bytes <= allowed) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        [&] { return fmt::format("{} bytes of shared memory for a block", bytes); });
  allowed = bytes;
}

unsigned* Queue::counters(int64_t count) {
  if (count > kCounters)
    throw std::invalid_argument(fmt::format("a kernel asks for {} counters, there are {}", count, kCounters));
  return lane_->counters;
}

void Queue::synchronise() {
  join();
  check(cudaStreamSynchronize(main_.stream), [&] { return "waiting for kernels on " + device_name_; });
}

}  // namespace scrawl::cuda
