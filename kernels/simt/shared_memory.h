#pragma once
// The shared memory of the block that runs on this thread of the operating system.  Every array starts out
// filled with a pattern and lies between guards: a kernel that reads what no thread wrote computes with NaN
// (or -1), and one that writes beside an array is told so when its block ends, or at once under the address
// sanitizer.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace scrawl::simt {

inline constexpr int kUnwritten = 0xFF;  // all ones is NaN in fp32 and bf16, and -1 as an integer

class SharedMemory {
 public:
  static constexpr size_t kCapacity = 512 * 1024;  // more than a GPU has

  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Forgets all arrays and makes a dynamic one.
  void begin_block(int64_t dynamic_bytes);
  /// The array called `key`, made at its first mention.  Fails beyond 48 KiB of these.
  void* array(const void* key, size_t bytes);
  const void* begin() const { return memory_.get(); }
  void* dynamic() const { return arrays_.front().data; }
  bool contains(const void* address, size_t bytes) const;
  /// Where `address` lies in shared memory, as matrix descriptors name it; and back, null where `bytes` from
  /// there on are not those of an array.
  uint32_t offset_of(const void* address) const;
  const unsigned char* at(uint32_t offset, size_t bytes) const;
  /// Fails if a guard was written to.
  void check_guards() const;

 private:
  struct Array {
    const void* key;
    unsigned char* data;
    size_t bytes;
  };
  struct Free {
    void operator()(unsigned char* pointer) const;
  };
  void* append(const void* key, size_t bytes);

  std::unique_ptr<unsigned char, Free> memory_;
  std::vector<Array> arrays_;
  size_t used_ = 0, static_bytes_ = 0;
};

/// For the running block; see device/shared.cuh.
void* static_shared_memory(const void* key, size_t bytes);
void* dynamic_shared_memory();

}  // namespace scrawl::simt
