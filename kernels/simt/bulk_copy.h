#pragma once
// Copies of tiles that a barrier in shared memory counts (cp.async.bulk.tensor with an mbarrier).  The
// simulator is unkind within the rules: from its start on, a copy has destroyed what was in its target, and
// it arrives as late as it may, when a thread waits for its phase.
#include <array>
#include <cstdint>
#include <source_location>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/cuda/runtime/tensor_map.h"

namespace scrawl::simt {

/// The copies of a block.
class BulkCopies {
 public:
  void start_barrier(const void* barrier, std::source_location where);
  void expect(const void* barrier, int64_t bytes, std::source_location where);
  void start(bf16* tile, const TensorMap& map, const int (&place)[5], const void* barrier,
             std::source_location where, const void* code);
  /// Whether a phase of this parity has ended, or ends now: when all of its bytes have been started.
  bool try_wait(const void* barrier, unsigned parity, std::source_location where);
  /// Fails when a copy was never waited for.
  void check_none_open() const;
  void clear() { barriers_.clear(); }

 private:
  struct Copy {
    bf16* tile;
    TiledTensor tensor;
    std::array<int, 5> place;
    std::source_location where;
    const void* code;
    void arrive() const;
    const bf16* source(int row) const;
  };
  struct Barrier {
    const void* address;
    unsigned phase = 0;
    bool expecting = false;
    int64_t bytes = 0;         // expected and not started
    std::vector<Copy> copies;  // of the phase that runs
  };
  int number_of(const Barrier& barrier) const { return static_cast<int>(&barrier - barriers_.data()); }
  Barrier& find(const void* address, std::source_location where);

  std::vector<Barrier> barriers_;
};

/// For the running thread; see device/bulk_copy.cuh.
void start_copy_barrier(const void* barrier, std::source_location where);
void expect_copies(const void* barrier, int64_t bytes, std::source_location where);
void start_bulk_copy(bf16* tile, const TensorMap& map, const int (&place)[5], const void* barrier,
                     std::source_location where);
void wait_for_bulk_copies(const void* barrier, unsigned parity, std::source_location where);

}  // namespace scrawl::simt
