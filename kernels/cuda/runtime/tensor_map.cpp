#include "kernels/cuda/runtime/tensor_map.h"

#include <cuda.h>
#include <fmt/ranges.h>

#include <cstring>

#include "kernels/cuda/runtime/check.h"

namespace scrawl::cuda {

namespace {

/// cuTensorMapEncodeTiled(), of the driver, which nothing here is linked to.
auto encoder() {
  constexpr auto kName = "cuTensorMapEncodeTiled";
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
#if CUDART_VERSION >= 12050
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion(kName, &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t status = cudaGetDriverEntryPoint(kName, &function, cudaEnableDefault, &found);
#endif
  check(status, "finding the driver's tensor maps");
  if (found != cudaDriverEntryPointSuccess) throw std::runtime_error("the driver has no tensor maps");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
}

}  // namespace

TensorMap tensor_map(const TiledTensor& tensor) {
  static const auto encode = encoder();
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= 64);
  constexpr int kDimensions = 5;
  cuuint64_t sizes[kDimensions], row_bytes[kDimensions - 1];
  cuuint32_t tile[kDimensions] = {64}, steps[kDimensions];
  for (int i = 0; i < kDimensions; ++i) {
    sizes[i] = static_cast<cuuint64_t>(tensor.sizes[i]);
    steps[i] = 1;
    if (i == 0) continue;
    row_bytes[i - 1] = tensor.strides[i - 1] * sizeof(bf16);
    tile[i] = static_cast<cuuint32_t>(tensor.tile[i - 1]);
  }
  CUtensorMap encoded;
  const CUresult status =
      encode(&encoded, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kDimensions, const_cast<bf16*>(tensor.values), sizes,
             row_bytes, tile, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw std::runtime_error(
        fmt::format("the driver refuses a map of a tensor {} with strides {}, in tiles "
                    "of {} (error {})",
                    tensor.sizes, tensor.strides, tensor.tile, static_cast<int>(status)));
  TensorMap map;
  std::memcpy(&map, &encoded, sizeof map);
  return map;
}

}  // namespace scrawl::cuda
