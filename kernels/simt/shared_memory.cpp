#include "kernels/simt/shared_memory.h"

#include <cstring>
#include <new>

#include "kernels/simt/block.h"
#include "kernels/simt/fault.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace scrawl::simt {

namespace {

constexpr size_t kAlignment = 128, kGuard = 128, kStaticLimit = 48 * 1024;
constexpr size_t kDynamicAlignment = 1024;  // what the swizzle of matrix descriptors wants
constexpr std::align_val_t kCapacityAlignment{kDynamicAlignment};
constexpr unsigned char kGuardByte = 0xFB;

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

void SharedMemory::Free::operator()(unsigned char* pointer) const {
  ::operator delete(pointer, kCapacityAlignment);
}

SharedMemory::SharedMemory()
    : memory_(static_cast<unsigned char*>(::operator new(kCapacity, kCapacityAlignment))) {}

SharedMemory::~SharedMemory() {
  ASAN_UNPOISON_MEMORY_REGION(memory_.get(), kCapacity);
}

void SharedMemory::begin_block(int64_t dynamic_bytes) {
  ASAN_UNPOISON_MEMORY_REGION(memory_.get(), used_);
  arrays_.clear();
  used_ = kDynamicAlignment;
  static_bytes_ = 0;
  std::memset(memory_.get(), kGuardByte, used_);
  ASAN_POISON_MEMORY_REGION(memory_.get(), used_);
  append(nullptr, dynamic_bytes);
}

void* SharedMemory::append(const void* key, size_t bytes) {
  unsigned char* data = memory_.get() + used_;
  const size_t space = aligned(bytes) + kGuard;
  if (used_ + space > kCapacity) fail("uses more shared memory than a GPU has");
  used_ += space;
  std::memset(data, kUnwritten, bytes);
  std::memset(data + bytes, kGuardByte, space - bytes);
  ASAN_POISON_MEMORY_REGION(data + bytes, space - bytes);
  arrays_.push_back({key, data, bytes});
  return data;
}

void* SharedMemory::array(const void* key, size_t bytes) {
  for (const Array& array : arrays_)
    if (array.key == key) return array.data;
  static_bytes_ += bytes;
  if (static_bytes_ > kStaticLimit) fail("uses more than 48 KiB of shared arrays of fixed size");
  return append(key, bytes);
}

bool SharedMemory::contains(const void* address, size_t bytes) const {
  for (const Array& array : arrays_)
    if (address >= array.data &&
        static_cast<const unsigned char*>(address) + bytes <= array.data + array.bytes)
      return true;
  return false;
}

uint32_t SharedMemory::offset_of(const void* address) const {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(address) - memory_.get());
}

const unsigned char* SharedMemory::at(uint32_t offset, size_t bytes) const {
  if (offset + bytes > used_) return nullptr;
  const unsigned char* address = memory_.get() + offset;
  return contains(address, bytes) ? address : nullptr;
}

void SharedMemory::check_guards() const {
  ASAN_UNPOISON_MEMORY_REGION(memory_.get(), used_);
  const unsigned char* guard = memory_.get();
  for (size_t i = 0; i <= arrays_.size(); ++i) {
    const unsigned char* end = i < arrays_.size() ? arrays_[i].data : memory_.get() + used_;
    for (; guard < end; ++guard)
      if (*guard != kGuardByte) {
        const Array& array = arrays_[i == 0 ? 0 : i - 1];
        fail("wrote to shared memory at byte " + std::to_string(guard - array.data) + " of " +
             (array.key ? "an array" : "dynamic memory") + " of " + std::to_string(array.bytes) + " bytes");
      }
    if (i < arrays_.size()) guard = arrays_[i].data + arrays_[i].bytes;
  }
}

void* static_shared_memory(const void* key, size_t bytes) {
  return Block::current().shared_memory().array(key, bytes);
}

void* dynamic_shared_memory() {
  return Block::current().shared_memory().dynamic();
}

}  // namespace scrawl::simt
