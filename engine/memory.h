#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace scrawl {

/// Where a device's memory comes from: aligned to 256 bytes or better, null when there is no more.
struct SystemMemory {
  std::byte* (*allocate)(int64_t bytes);
  void (*release)(std::byte* memory);
  // What guards need (see Allocator); both wait for everything that is under way.
  void (*fill)(std::byte* memory, std::byte value, int64_t bytes);
  void (*copy_to_host)(std::byte* host, const std::byte* memory, int64_t bytes);
};
SystemMemory host_memory();
/// What the processor's memory has left for new work, in bytes.
int64_t host_free_bytes();

/// A device's memory: blocks are kept when released and handed out again by size, so that a training step,
/// whose shapes repeat, allocates nothing from the system after its first run.  Blocks are aligned to 256
/// bytes. Not thread-safe: one thread drives a device.
class Allocator {
 public:
  struct Statistics {
    int64_t in_use = 0;    // bytes that are handed out
    int64_t peak = 0;      // high-water mark of in_use
    int64_t reserved = 0;  // bytes held from the system
  };

  /// With `guard`, every block is filled with NaN when handed out and lies between bands whose bytes are
  /// checked when it comes back: for tests and for hunting a kernel that writes out of bounds.
  explicit Allocator(SystemMemory system = host_memory(), bool guard = false)
      : system_(system), guard_(guard) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  std::byte* allocate(int64_t bytes);
  void release(std::byte* block);

  /// From here on blocks come from this pool; each returns to its own.  Captured kernels name their memory by
  /// address, so what is handed out while they are captured is never handed out to anything else: it counts
  /// as in use from then on.  Captures share their pool, since they are replayed one after another.
  enum class Pool { ordinary, captured };
  void use(Pool pool) { pool_ = pool; }

  /// Gives ordinary blocks that nobody uses back to the system: worth it before work of other shapes, which
  /// could not use them.
  void trim();

  const Statistics& statistics() const { return statistics_; }
  void reset_peak() { statistics_.peak = statistics_.in_use; }
  /// Checks the bands of every block in use; returns what was found damaged so far, empty when nothing was.
  const std::string& damage();

 private:
  struct Block {
    int64_t size = 0;       // as rounded, without bands
    int64_t requested = 0;  // as asked for
    Pool pool = Pool::ordinary;
  };

  using FreeBlocks = std::map<int64_t, std::vector<std::byte*>>;  // by rounded size

  void trim(FreeBlocks& free);
  void check_bands(const std::byte* block, const Block& info);
  bool is_whole(const std::byte* begin, const std::byte* end) const;

  SystemMemory system_;
  bool guard_;
  Statistics statistics_;
  std::unordered_map<std::byte*, Block> used_;
  FreeBlocks free_[2];  // by pool
  Pool pool_ = Pool::ordinary;
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
