#pragma once
// Products of a warpgroup that are under way (wgmma); see device/wgmma.cuh.  The simulator is unkind within
// the rules: accumulators hold NaN from the start of a product until they are waited for.  What lies in
// shared memory is read when the product starts and once more when it is waited for, and must be the same.
#include <cstdint>
#include <source_location>
#include <vector>

namespace scrawl::simt {

/// Operand of a product D[64, columns] (+)= A[64, 16] · B[16, columns], by one of its threads.
struct Product {
  float* d;  // columns / 2 values
  int columns;
  const uint32_t* a;  // four words in registers; null: by descriptor
  uint64_t a_descriptor;
  bool a_transposed;  // a row of shared memory holds one k and many rows of A
  uint64_t b_descriptor;
  bool b_transposed;  // a row of shared memory holds one k and many columns of B
  bool accumulate;
  std::source_location where;
  const void* code = nullptr;  // the instruction's address
};

/// The products of one warpgroup.
class AsyncProducts {
 public:
  void fence() { fenced_ = true; }
  /// `threads`: the operands of all 128.
  void start(Product* const* threads);
  void commit() { ++group_; }
  void wait(int newest);
  /// Fails when a product was never waited for.
  void check_none_open() const;
  void clear();

 private:
  struct UnderWay {
    Product product;                  // of the first thread
    std::vector<float*> targets;      // of all threads
    std::vector<float> a, b, result;  // as matrices
    int64_t group;
  };
  const UnderWay* latest_to(const float* target) const;

  std::vector<UnderWay> products_;  // in the order of their starts
  int64_t group_ = 0;               // the one that is open
  int64_t ended_ = 0;
  bool fenced_ = false;  // since the last wait
};

/// The address of shared memory, as descriptors name it.
uint32_t shared_address(const void* pointer);

/// For the running thread; its whole warpgroup comes.
void fence_warpgroup(std::source_location where);
void start_product(Product mine);
void close_product_group(std::source_location where);
void wait_for_products(int newest, std::source_location where);

/// By the running thread alone.
void show_writes();

}  // namespace scrawl::simt
