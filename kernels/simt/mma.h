#pragma once
// Matrix instructions of a warp; see device/mma.cuh for the layout of fragments.
#include <cstdint>
#include <source_location>

namespace scrawl::simt {

/// d += a · b on the fragments of all 32 lanes; the sixteen products are added in order.
void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b,
                  std::source_location where = std::source_location::current());

/// Spreads `count` matrices of 8 × 8 16-bit values over the warp; lane 8·i + r knows row r of matrix i.
void ldmatrix(uint32_t* words, const void* row, int count, bool transposed,
              std::source_location where = std::source_location::current());

}  // namespace scrawl::simt
