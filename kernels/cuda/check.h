#pragma once
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace scrawl::cuda {

/// Throws std::runtime_error when a call to CUDA failed; `what` says what was wanted.
inline void check(cudaError_t status, const std::string& what) {
  if (status != cudaSuccess)
    throw std::runtime_error(what + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) +
                             ")");
}

inline void check(cublasStatus_t status, const std::string& what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(what + ": " + cublasLtGetStatusString(status));
}

}  // namespace scrawl::cuda
