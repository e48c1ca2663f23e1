#pragma once
// Memory that kernels work in: taken from the device's for as long as a kernel needs it, so that it serves
// tensors the rest of the time.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace scrawl {

/// Where blocks of a device's memory come from.
class MemorySource {
 public:
  /// Aligned to 256 bytes.  Throws when there is no more.
  virtual std::byte* allocate(int64_t bytes) = 0;
  /// The block may be handed out again at once, to kernels that are launched later.
  virtual void release(std::byte* block) = 0;

 protected:
  ~MemorySource() = default;
};

/// A number of floats, contents undefined, given back at the end of its scope: the launches of a kernel that
/// works in them come before that, the kernel itself need not.
class Scratch {
 public:
  /// Nothing is taken for no elements.
  Scratch(MemorySource& source, int64_t elements)
      : source_(source),
        data_(elements == 0 ? nullptr : source.allocate(elements * static_cast<int64_t>(sizeof(float)))) {}
  Scratch(Scratch&& other) noexcept : source_(other.source_), data_(std::exchange(other.data_, nullptr)) {}
  ~Scratch() {
    if (data_) source_.release(data_);
  }

  /// Null for no elements.
  float* data() const { return reinterpret_cast<float*>(data_); }

 private:
  MemorySource& source_;
  std::byte* data_;
};

/// For kernels that run one after another beside others: what one gives back is handed out again to the next
/// of them, and to others when this ends: once they are done, or what is launched from there on waits for
/// them.
class AsideMemory final : public MemorySource {
 public:
  explicit AsideMemory(MemorySource& source) : source_(source) {}
  ~AsideMemory();
  AsideMemory(const AsideMemory&) = delete;
  AsideMemory& operator=(const AsideMemory&) = delete;

  std::byte* allocate(int64_t bytes) override;
  void release(std::byte* block) override;

 private:
  struct Block {
    std::byte* data;
    int64_t bytes;
    bool used;
  };
  MemorySource& source_;
  std::vector<Block> blocks_;
};

}  // namespace scrawl
