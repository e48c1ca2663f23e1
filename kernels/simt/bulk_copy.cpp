#include "kernels/simt/bulk_copy.h"

#include <algorithm>
#include <cstring>

#include "kernels/simt/block.h"
#include "kernels/simt/fault.h"
#include "kernels/simt/observer.h"

namespace scrawl::simt {

namespace {

constexpr int kColumns = 64, kRowBytes = kColumns * sizeof(bf16);
constexpr int kTileAlignment = 1024;  // that swizzling repeats after

}  // namespace

void BulkCopies::start_barrier(const void* barrier, std::source_location where) {
  if (!Block::current().shared_memory().contains(barrier, sizeof(uint64_t)))
    fail("starts a barrier at " + text(where) + " in something else than shared memory");
  barriers_.push_back({.address = barrier});
}

BulkCopies::Barrier& BulkCopies::find(const void* address, std::source_location where) {
  const auto found = std::find_if(barriers_.begin(), barriers_.end(),
                                  [&](const Barrier& barrier) { return barrier.address == address; });
  if (found == barriers_.end()) fail("uses a barrier at " + text(where) + " that was not started");
  return *found;
}

void BulkCopies::expect(const void* barrier, int64_t bytes, std::source_location where) {
  Barrier& found = find(barrier, where);
  if (found.expecting)
    fail("expects bytes at " + text(where) + " in a phase of a barrier that has been told already");
  found.expecting = true;
  found.bytes += bytes;
  if (observer) observer->announce_copies(number_of(found));
}

void BulkCopies::start(bf16* tile, const TensorMap& map, const int (&place)[5], const void* barrier,
                       std::source_location where, const void* code) {
  SharedMemory& memory = Block::current().shared_memory();
  const int64_t bytes = int64_t{map.tensor.tile_rows()} * kRowBytes;
  if (!memory.contains(tile, bytes))
    fail("copies at " + text(where) + " to something else than shared memory");
  if (memory.offset_of(tile) % kTileAlignment != 0)
    fail("copies at " + text(where) + " to a tile that is not aligned");
  Barrier& found = find(barrier, where);
  std::memset(tile, kUnwritten, bytes);
  found.copies.push_back({tile, map.tensor, std::to_array(place), where, code});
  if (observer) observer->start_copy(number_of(found), found.phase + 1, tile, bytes, code);
  found.bytes -= bytes;
}

/// A row of the tile from its first column on, which must be inside; null beyond the tensor.
const bf16* BulkCopies::Copy::source(int row) const {
  const bf16* values = tensor.values + place[0];
  for (int i = 0; i < 4; ++i) {
    const int64_t at = place[i + 1] + row % tensor.tile[i];
    if (at < 0 || at >= tensor.sizes[i + 1]) return nullptr;
    values += at * tensor.strides[i];
    row /= tensor.tile[i];
  }
  return values;
}

/// Row by row, pieces of 16 bytes swizzled within 128.
void BulkCopies::Copy::arrive() const {
  constexpr int kPiece = 8;
  for (int i = 0; i < tensor.tile_rows(); ++i) {
    const bf16* values = source(i);
    for (int j = 0; j < kColumns; j += kPiece) {
      bf16* to = tile + i * kColumns + (j / kPiece ^ i % 8) * kPiece;
      const int64_t inside = values ? std::clamp<int64_t>(tensor.sizes[0] - place[0] - j, 0, kPiece) : 0;
      std::fill_n(to + inside, kPiece - inside, bf16{});
      if (inside > 0) std::memcpy(to, values + j, inside * sizeof(bf16));
    }
    const int64_t inside = values ? std::clamp<int64_t>(tensor.sizes[0] - place[0], 0, kColumns) : 0;
    if (observer) observer->access(values, inside * sizeof(bf16), Access::read, code);
  }
}

bool BulkCopies::try_wait(const void* barrier, unsigned parity, std::source_location where) {
  Barrier& found = find(barrier, where);
  if (found.phase % 2 == parity) {
    if (!found.expecting || found.bytes != 0) return false;
    for (const Copy& copy : found.copies) copy.arrive();
    found.copies.clear();
    found.expecting = false;
    ++found.phase;
  }
  if (observer) observer->end_phase(number_of(found), found.phase);
  return true;
}

void BulkCopies::check_none_open() const {
  for (const Barrier& barrier : barriers_)
    if (!barrier.copies.empty())
      fail("ends without anybody having waited for the copy started at " +
           text(barrier.copies.front().where));
}

void start_copy_barrier(const void* barrier, std::source_location where) {
  if (observer) observer->access(barrier, sizeof(uint64_t), Access::write, __builtin_return_address(0));
  Block::current().bulk_copies().start_barrier(barrier, where);
}

void expect_copies(const void* barrier, int64_t bytes, std::source_location where) {
  if (observer) observer->access(barrier, sizeof(uint64_t), Access::atomic, __builtin_return_address(0));
  Block::current().bulk_copies().expect(barrier, bytes, where);
  Block::current().release_waiting_for(barrier);
}

void start_bulk_copy(bf16* tile, const TensorMap& map, const int (&place)[5], const void* barrier,
                     std::source_location where) {
  if (observer) observer->access(barrier, sizeof(uint64_t), Access::atomic, __builtin_return_address(0));
  Block::current().bulk_copies().start(tile, map, place, barrier, where, __builtin_return_address(0));
  Block::current().release_waiting_for(barrier);
}

void wait_for_bulk_copies(const void* barrier, unsigned parity, std::source_location where) {
  if (observer) observer->access(barrier, sizeof(uint64_t), Access::atomic, __builtin_return_address(0));
  while (!Block::current().bulk_copies().try_wait(barrier, parity, where))
    Block::current().wait_for(barrier, where);
}

}  // namespace scrawl::simt
