#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "kernels/scratch.h"

namespace scrawl {

/// Where a device's memory comes from: aligned to 256 bytes or better, null when there is no more.
struct SystemMemory {
  std::byte* (*allocate)(int64_t bytes);
  void (*release)(std::byte* memory);
  // What guards need (see Allocator); both wait for everything that is under way.
  void (*fill)(std::byte* memory, std::byte value, int64_t bytes);
  void (*copy_to_host)(std::byte* host, const std::byte* memory, int64_t bytes);
  // Says whether anybody may touch these bytes, to who can stop others.
  void (*mark)(std::byte* memory, int64_t bytes, bool usable) = [](std::byte*, int64_t, bool) {};
};
/// The processor's.  Under the address sanitizer only blocks in use can be touched, as far as they were asked
/// for.
SystemMemory host_memory();
/// What the processor's memory has left for new work, in bytes.
int64_t host_free_bytes();

/// A device's memory.  It comes from the system in segments, and blocks are cut from those: from the smallest
/// free block that is large enough, the first of equals.  A released block grows together with free
/// neighbours and may be handed out again at once, since kernels run in the order of their launches.  A
/// training step, whose shapes repeat, asks the system for nothing after its first run.  Where a block lies
/// within the segments follows from the requests so far and their sizes alone.  Blocks are aligned to 256
/// bytes.  Not thread-safe: one thread drives a device.
class Allocator final : public MemorySource {
 public:
  struct Statistics {
    int64_t in_use = 0;         // bytes of blocks that are handed out, captures' at their worst moment
    int64_t peak = 0;           // high-water mark of in_use
    int64_t reserved = 0;       // bytes held from the system
    int64_t peak_reserved = 0;  // high-water mark of reserved
  };

  /// With `guard`, every block is a segment of its own, is filled with NaN when handed out and lies between
  /// bands whose bytes are checked when it comes back: for tests and for hunting a kernel that writes out of
  /// bounds.
  explicit Allocator(SystemMemory system = host_memory(), bool guard = false)
      : system_(system), guard_(guard) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  std::byte* allocate(int64_t bytes) override;
  void release(std::byte* block) override;

  /// From here on blocks come from this pool; each returns to its own.  Captured kernels name their memory by
  /// address, so what is handed out while they are captured is handed out to nothing but captures: it counts
  /// as in use from then on.  Captures share their pool, since they are replayed one after another.
  enum class Pool { ordinary, captured };
  void use(Pool pool) { pool_ = pool; }
  /// No captured kernels are left: what they used is ordinary memory again.
  void end_captures();

  /// `release_some` is called before memory is asked of the system, and before a large block raises the
  /// high-water mark of what is in use, as long as it says that it has released blocks.
  void before_growing(std::function<bool()> release_some) { release_some_ = std::move(release_some); }
  /// Gives ordinary segments without a block in use back to the system: worth it where others want the
  /// memory, or before work of other shapes.
  void trim();

  const Statistics& statistics() const { return statistics_; }
  /// Both high-water marks start from what is there now.
  void reset_peak();
  /// Checks the bands of every block in use; returns what was found damaged so far, empty when nothing was.
  const std::string& damage();

 private:
  struct Segment {
    std::byte* memory = nullptr;
    int64_t size = 0;
    Pool pool = Pool::ordinary;
  };
  /// Where a block begins.  Segments are numbered as they come, so that their order is not the system's.
  struct Place {
    int64_t segment = 0;
    int64_t offset = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  struct Block {
    int64_t size = 0;       // as rounded, without bands
    int64_t requested = 0;  // as asked for
    bool used = false;
  };
  using Blocks = std::map<Place, Block>;
  using FreeBlocks = std::set<std::pair<int64_t, Place>>;  // by size, then place

  FreeBlocks& free_in(Pool pool) { return free_[static_cast<int>(pool)]; }
  bool fits(int64_t block, int64_t size) const { return guard_ ? block == size : block >= size; }
  Place find_block(int64_t size);
  void adopt_segment(int64_t size);
  void add_segment(int64_t size);
  std::byte* from_system(int64_t bytes);
  void cut(Place place, int64_t size);
  int64_t in_use_with(Pool pool, int64_t bytes) const;
  void count(Pool pool, int64_t bytes);
  std::byte* address_of(Place place) const;
  void fill_band(std::byte* begin, std::byte* end);
  void check_bands(std::byte* block, const Block& info);
  bool is_whole(std::byte* begin, std::byte* end) const;

  SystemMemory system_;
  bool guard_;
  Statistics statistics_;
  std::map<int64_t, Segment> segments_;  // by number
  int64_t next_segment_ = 0;
  Blocks blocks_;       // each segment from end to end; no two free ones side by side
  FreeBlocks free_[2];  // by pool
  std::unordered_map<std::byte*, Place> used_;
  int64_t live_[2] = {};       // bytes of blocks in use, by pool
  int64_t captured_peak_ = 0;  // high-water mark of the captured pool's
  Pool pool_ = Pool::ordinary;
  std::function<bool()> release_some_ = [] { return false; };
  std::string damage_;
};

/// One block, given back when the last owner lets go.
class Buffer {
 public:
  Buffer(Allocator& allocator, int64_t bytes) : allocator_(allocator), data_(allocator.allocate(bytes)) {}
  ~Buffer() { allocator_.release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::byte* data() const { return data_; }

 private:
  Allocator& allocator_;
  std::byte* data_;
};

}  // namespace scrawl
