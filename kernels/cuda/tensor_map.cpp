#include "kernels/cuda/tensor_map.h"

#include <cuda.h>

#include <cstring>

#include "kernels/cuda/check.h"

namespace scrawl::cuda {

namespace {

/// cuTensorMapEncodeTiled(), of the driver, which nothing here is linked to.
auto encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  check(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
      "finding the driver's tensor maps");
  if (found != cudaDriverEntryPointSuccess) throw std::runtime_error("the driver has no tensor maps");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
}

}  // namespace

TensorMap tensor_map(const bf16* matrix, int64_t rows, int64_t columns, int64_t ld, int tile_rows) {
  static const auto encode = encoder();
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= 64);
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t row_bytes = ld * sizeof(bf16);
  const cuuint32_t tile[] = {kTensorMapColumns, static_cast<cuuint32_t>(tile_rows)}, steps[] = {1, 1};
  CUtensorMap encoded;
  const CUresult status =
      encode(&encoded, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<bf16*>(matrix), sizes, &row_bytes,
             tile, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw std::runtime_error(
        fmt::format("the driver refuses a map of a matrix of {} rows {} apart and {} "
                    "columns (error {})",
                    rows, ld, columns, static_cast<int>(status)));
  TensorMap map;
  std::memcpy(&map, &encoded, sizeof map);
  return map;
}

}  // namespace scrawl::cuda
