// Gives every entry of a mutated zip file the right checksum: the reader would refuse it unseen.
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

template <typename T>
T number_at(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

/// Corrects the checksum of a stored entry that the central directory's record names, in both places.
void mend_entry(uint8_t* data, size_t size, uint8_t* record) {
  constexpr size_t kLocal = 30;
  const size_t local = number_at<uint32_t>(record + 42), packed = number_at<uint32_t>(record + 20);
  if (number_at<uint16_t>(record + 10) != 0 || local + kLocal > size) return;  // 10: the way it is packed
  const size_t begin =
      local + kLocal + number_at<uint16_t>(data + local + 26) + number_at<uint16_t>(data + local + 28);
  if (begin > size || packed > size - begin) return;
  const auto sum = static_cast<uint32_t>(crc32(0, data + begin, static_cast<uInt>(packed)));
  std::memcpy(data + local + 14, &sum, sizeof sum);
  std::memcpy(record + 16, &sum, sizeof sum);
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned) {
  size = LLVMFuzzerMutate(data, size, max_size);
  constexpr size_t kRecord = 46;
  for (size_t at = 0; at + kRecord <= size; ++at)
    if (std::memcmp(data + at, "PK\1\2", 4) == 0) mend_entry(data, size, data + at);
  return size;
}
