#include "kernels/simt/mma.h"

#include <cstring>

#include "kernels/bf16.h"
#include "kernels/simt/block.h"
#include "kernels/simt/check.h"
#include "kernels/simt/meeting.h"
#include "kernels/simt/observer.h"

namespace scrawl::simt {

namespace {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

float half_of(uint32_t word, int upper) {
  return to_float(bf16{static_cast<uint16_t>(word >> 16 * upper)});
}

struct Fragments {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

void multiply(Fragments* const* lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, member = lane % 4;
    for (int upper = 0; upper < 2; ++upper) {
      for (int i = 0; i < 4; ++i)
        a[group + i % 2 * 8][2 * member + upper + i / 2 * 8] = half_of(lanes[lane]->a[i], upper);
      for (int i = 0; i < 2; ++i) b[2 * member + upper + i * 8][group] = half_of(lanes[lane]->b[i], upper);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float sum = lanes[lane]->d[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      lanes[lane]->d[i] = sum;
    }
  }
}

struct Rows {
  uint32_t* words;
  const void* row;
  int count;
  bool transposed;
};

void spread(Rows* const* lanes) {
  const bool transposed = lanes[0]->transposed;
  for (int i = 0; i < lanes[0]->count; ++i) {
    uint16_t matrix[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(matrix[r], lanes[8 * i + r]->row, sizeof matrix[r]);
    for (int lane = 0; lane < 32; ++lane) {
      const int r = lane / 4, c = lane % 4 * 2;
      const uint32_t low = transposed ? matrix[c][r] : matrix[r][c];
      const uint32_t high = transposed ? matrix[c + 1][r] : matrix[r][c + 1];
      lanes[lane]->words[i] = low | high << 16;
    }
  }
}

}  // namespace

void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b, std::source_location where) {
  Fragments mine{d, a, b};
  meet("mma", kAllLanes, mine, multiply, where);
}

void ldmatrix(uint32_t* words, const void* row, int count, bool transposed, std::source_location where) {
  if (current_lane() < 8 * count) {
    check_aligned(row, 16);
    if (!Block::current().shared_memory().contains(row, 16)) fail("ldmatrix reads outside of shared memory");
    if (observer) observer->access(row, 16, Access::read, __builtin_return_address(0));
  }
  Rows mine{words, row, count, transposed};
  meet("ldmatrix", kAllLanes, mine, spread, where);
}

}  // namespace scrawl::simt
