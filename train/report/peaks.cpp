#include "train/report/peaks.h"

#include <chrono>

#include "engine/ops.h"
#include "engine/random.h"
#include "kernels/cast.h"
#include "kernels/matmul.h"

namespace scrawl {
namespace {

/// Seconds of one run of a kernel: the best of several rounds, since a peak is asked for.  A round on a GPU
/// has several runs, so that launching is hidden.
template <typename Kernel>
double best_seconds(Device& device, const Kernel& kernel) {
  const int runs = device.kind() == DeviceKind::cuda ? 20 : 1;
  double best = 1e30;
  for (int round = 0; round < 6; ++round) {  // the first warms up
    device.synchronise();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < runs; ++i) device.run(kernel);
    device.synchronise();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::min(best, seconds.count() / runs);
  }
  return best;
}

/// A chip that multiplies zeros needs less power and runs faster than one that works.
Tensor random_matrix(Device& device, int64_t side, DType dtype) {
  Random random(1, side);
  std::vector<float> values(side * side);
  for (float& value : values) value = random.uniform(-1.0f, 1.0f);
  Tape tape(device, Tape::Mode::evaluate);
  return ops::cast(tape, Tensor::from(device, {side, side}, values), dtype);
}

double measure_bandwidth(Device& device) {
  constexpr int64_t kElements = int64_t{1} << 26;  // 256 MiB each: more than any cache
  const Tensor x = Tensor::zeros(device, {kElements}), y = Tensor::zeros(device, {kElements});
  const Cast stream{.x = x.raw(), .y = y.raw(), .elements = kElements, .accumulate = true};
  return static_cast<double>(stream.cost().bytes) / best_seconds(device, stream);
}

double measure_flops(Device& device, DType dtype) {
  const int64_t side = device.kind() == DeviceKind::cuda ? 8192 : 2048;
  const Tensor a = random_matrix(device, side, dtype), b = random_matrix(device, side, dtype),
               c = Tensor(device, {side, side}, dtype);
  const MatMul product{.dtype = dtype,
                       .c_dtype = dtype,
                       .m = side,
                       .n = side,
                       .k = side,
                       .a = a.raw(),
                       .lda = side,
                       .b = b.raw(),
                       .ldb = side,
                       .c = c.raw(),
                       .ldc = side};
  return static_cast<double>(product.cost().flops) / best_seconds(device, product);
}

}  // namespace

Peaks measure_peaks(Device& device, DType dtype) {
  const Peaks peaks{.bytes_per_second = measure_bandwidth(device), .flops = measure_flops(device, dtype)};
  device.trim();
  return peaks;
}

}  // namespace scrawl
