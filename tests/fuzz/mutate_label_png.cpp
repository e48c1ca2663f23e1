// Gives every chunk of a mutated PNG the right checksum: libpng would look no further.
#include <zlib.h>

#include <cstddef>
#include <cstdint>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned) {
  constexpr size_t kSignature = 8, kFrame = 12;  // of a chunk: length, name and checksum
  size = LLVMFuzzerMutate(data, size, max_size);
  for (size_t at = kSignature; at + kFrame <= size;) {
    const uint8_t* chunk = data + at;
    const size_t length =
        uint32_t{chunk[0]} << 24 | uint32_t{chunk[1]} << 16 | uint32_t{chunk[2]} << 8 | uint32_t{chunk[3]};
    if (length > size - at - kFrame) break;
    const auto sum = static_cast<uint32_t>(crc32(0, chunk + 4, static_cast<uInt>(length + 4)));
    for (size_t i = 0; i < 4; ++i) data[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += kFrame + length;
  }
  return size;
}
