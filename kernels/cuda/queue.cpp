#include "kernels/cuda/queue.h"

#include <algorithm>

#include "kernels/cuda/check.h"
#include "kernels/cuda/matmul_plans.h"
#include "kernels/queue.h"

namespace scrawl::cuda {

namespace {

constexpr int64_t kBlasWorkspaceBytes = 32 << 20;  // what cuBLAS recommends for Hopper
constexpr int kLeastCapability = 80;               // bf16 matrix fragments, asynchronous copies

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
  if (10 * properties.major + properties.minor < kLeastCapability)
    return fmt::format("{} has compute capability {}.{}, {}.{} is needed", properties.name, properties.major,
                       properties.minor, kLeastCapability / 10, kLeastCapability % 10);
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

Queue::Queue(const Options& options) : options_(options) {
  const std::string device = fmt::format("CUDA device {}", options.device);
  if (const std::string reason = absence(options.device); !reason.empty())
    throw std::runtime_error(device + ": " + reason);
  check(cudaSetDevice(options.device), device);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, options.device), device);
  device_name_ = properties.name;
  compute_capability_ = 10 * properties.major + properties.minor;
  multiprocessors_ = properties.multiProcessorCount;
  memory_bytes_ = static_cast<int64_t>(properties.totalGlobalMem);
  shared_bytes_limit_ = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  check(cublasLtCreate(&blas_), device + ": cuBLASLt");
  open(main_);
  matmul_plans_ = std::make_unique<MatMulPlans>(blas_, kBlasWorkspaceBytes, options.tf32);
}

Queue::~Queue() {
  for (const Lane& lane : {main_, aside_}) {
    if (!lane.stream) continue;
    cudaStreamSynchronize(lane.stream);
    for (float* buffer : lane.scratch) cudaFree(buffer);
    cudaFree(lane.blas_workspace);
    cudaFree(lane.counters);
    cudaStreamDestroy(lane.stream);
  }
  spare_.insert(spare_.end(), asides_.begin(), asides_.end());
  if (fork_) spare_.push_back(fork_);
  for (CUevent_st* event : spare_) cudaEventDestroy(event);
  if (blas_) cublasLtDestroy(blas_);
}

void Queue::open(Lane& lane) {
  // Not blocking: the legacy default stream must not serialise with ours.
  check(cudaStreamCreateWithFlags(&lane.stream, cudaStreamNonBlocking), "stream of " + device_name_);
  check(cudaMalloc(&lane.blas_workspace, kBlasWorkspaceBytes), "workspace of cuBLASLt");
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

void Queue::begin_aside() {
  if (!aside_.stream) open(aside_);
  if (!fork_) fork_ = new_event();
  check(cudaEventRecord(fork_, main_.stream), "marking kernels");
  check(cudaStreamWaitEvent(aside_.stream, fork_, 0), "ordering kernels");
  lane_ = &aside_;
}

void Queue::end_aside() {
  lane_ = &main_;
  if (spare_.empty()) spare_.push_back(new_event());
  asides_.push_back(spare_.back());
  spare_.pop_back();
  check(cudaEventRecord(asides_.back(), aside_.stream), "marking kernels");
}

void Queue::join_first() {
  if (asides_.empty()) return;
  check(cudaStreamWaitEvent(main_.stream, asides_.front(), 0), "ordering kernels");
  spare_.push_back(asides_.front());
  asides_.pop_front();
}

void Queue::join() {
  if (asides_.empty()) return;
  std::swap(asides_.front(), asides_.back());  // whoever waits for the last waits for all
  join_first();
  spare_.insert(spare_.end(), asides_.begin(), asides_.end());
  asides_.clear();
}

int64_t Queue::blas_workspace_bytes() const {
  return kBlasWorkspaceBytes;
}

float* Queue::scratch(int64_t elements) {
  if (elements > lane_->scratch_capacity || lane_->scratch.empty()) {
    // Twice as much where what it outgrows stays, so that this adds up to no more than twice the last.
    const int64_t least = keeps_scratch_ ? 2 * lane_->scratch_capacity : 0;
    if (!keeps_scratch_) release_scratch(*lane_);
    const int64_t capacity = std::max({elements, least, int64_t{1024}});
    const int64_t bytes = capacity * static_cast<int64_t>(sizeof(float));
    void* buffer = nullptr;
    check(cudaMalloc(&buffer, bytes), [&] { return fmt::format("scratch memory of {} bytes", bytes); });
    lane_->scratch.push_back(static_cast<float*>(buffer));
    lane_->scratch_capacity = capacity;
    lane_->scratch_total += bytes;
  }
  return lane_->scratch.back();
}

void Queue::release_scratch(Lane& lane) {
  if (lane.scratch.empty()) return;
  check(cudaStreamSynchronize(lane.stream), "waiting for kernels that use scratch memory");
  for (float* buffer : lane.scratch) cudaFree(buffer);
  lane.scratch.clear();
  lane.scratch_capacity = lane.scratch_total = 0;
}

void Queue::release_scratch() {
  for (Lane* lane : {&main_, &aside_}) release_scratch(*lane);
  keeps_scratch_ = false;
}

int64_t Queue::scratch_bytes() const {
  int64_t bytes = 0;
  for (const Lane* lane : {&main_, &aside_})
    bytes += lane->scratch_total + (lane->blas_workspace ? kBlasWorkspaceBytes : 0);
  return bytes;
}

float* Queue::product_scratch(int64_t elements) {
  if (elements * static_cast<int64_t>(sizeof(float)) > kBlasWorkspaceBytes)
    throw std::invalid_argument(fmt::format("a product of ours asks for {} floats of scratch", elements));
  return static_cast<float*>(lane_->blas_workspace);
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
