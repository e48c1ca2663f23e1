#pragma once
// Every call to CUDA and its libraries goes through check(status, what).  `what` says what was wanted: a
// text, or a function that makes one where a text for each call would cost more than the call.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <concepts>
#include <stdexcept>
#include <string>

namespace scrawl::cuda {

template <typename What>
std::string text_of(const What& what) {
  if constexpr (std::invocable<What>)
    return what();
  else
    return what;
}

/// Throws std::runtime_error when a call failed.
template <typename What>
void check(cudaError_t status, const What& what) {
  if (status != cudaSuccess)
    throw std::runtime_error(
        fmt::format("{}: {} ({})", text_of(what), cudaGetErrorString(status), cudaGetErrorName(status)));
}

template <typename What>
void check(cublasStatus_t status, const What& what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(fmt::format("{}: {}", text_of(what), cublasLtGetStatusString(status)));
}

}  // namespace scrawl::cuda
