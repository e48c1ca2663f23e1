#include "data/image.h"

#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "engine/error.h"
#include "engine/files.h"

// Static, so that no other user of stb in the same program collides with it.  Large dimensions are refused
// before anything is allocated for them.
#define STBI_MAX_DIMENSIONS 32768
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_FAILURE_USERMSG
#define STBI_NO_STDIO
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

namespace scrawl {

namespace fs = std::filesystem;

namespace {

constexpr uint8_t kEndOfImage = 0xD9;

bool is_jpeg(std::string_view bytes) {
  return bytes.starts_with("\xFF\xD8\xFF");
}

/// Whether the segments and scans of a JPEG lead to its end marker.  stb_image decodes what there is of a
/// file that was cut short, and says nothing; an end marker alone proves little, since thumbnails have one.
bool reaches_end_marker(std::string_view bytes) {
  auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  size_t i = 2;
  while (i + 1 < bytes.size()) {
    if (at(i) != 0xFF) {
      ++i;  // entropy-coded data, or stray bytes between segments
      continue;
    }
    const uint8_t marker = at(i + 1);
    if (marker == kEndOfImage) return true;
    if (marker == 0xFF) {
      ++i;
    } else if (marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD8)) {
      i += 2;  // a stuffed 0xFF, or a marker without content
    } else {
      if (i + 3 >= bytes.size()) return false;
      i += 2 + (size_t{at(i + 2)} << 8 | at(i + 3));
    }
  }
  return false;
}

/// What stb_image says of the header.
ImageSize size_in(const std::string& bytes, const fs::path& path) {
  if (bytes.size() > INT32_MAX) throw InputError("{}: too large for an image", path.string());
  ImageSize size;
  int channels = 0;
  if (!stbi_info_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()),
                             &size.width, &size.height, &channels)) {
    throw InputError("{}: cannot be read as an image (JPEG, PNG or BMP): {}", path.string(),
                     stbi_failure_reason());
  }
  if (int64_t{size.height} * size.width > kMostPixels)
    throw InputError("{}: {} x {} pixels are too many; at most {} are read", path.string(), size.width,
                     size.height, kMostPixels);
  return size;
}

void append(void* context, void* data, int size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), size);
}

void check_writable(const fs::path& path, const Image& image) {
  require(
      image.height > 0 && image.width > 0 && image.pixels.size() == size_t{3} * image.height * image.width,
      "{}: an image of {} x {} with {} bytes of pixels cannot be written", path.string(), image.height,
      image.width, image.pixels.size());
}

void write(const fs::path& path, const std::string& bytes, bool encoded) {
  if (!encoded) throw std::runtime_error(fmt::format("{}: the image could not be encoded", path.string()));
  write_file_atomically(path, [&](std::ostream& out) { out.write(bytes.data(), bytes.size()); });
}

}  // namespace

ImageSize read_image_size(const fs::path& path) {
  return size_in(read_file(path), path);
}

Image read_image(const fs::path& path) {
  const std::string bytes = read_file(path);
  size_in(bytes, path);
  if (is_jpeg(bytes) && !reaches_end_marker(bytes)) {
    throw InputError("{}: the JPEG is cut short (no end marker in {} bytes)", path.string(), bytes.size());
  }
  Image image;
  int channels = 0;
  stbi_uc* pixels =
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()),
                            &image.width, &image.height, &channels, 3);
  if (!pixels) {
    throw InputError("{}: cannot be read as an image (JPEG, PNG or BMP): {}", path.string(),
                     stbi_failure_reason());
  }
  const std::unique_ptr<stbi_uc, void (*)(void*)> owner(pixels, stbi_image_free);
  image.pixels.assign(pixels, pixels + size_t{3} * image.height * image.width);
  return image;
}

void write_jpeg(const fs::path& path, const Image& image, int quality) {
  check_writable(path, image);
  std::string bytes;
  const bool encoded =
      stbi_write_jpg_to_func(append, &bytes, image.width, image.height, 3, image.pixels.data(), quality);
  write(path, bytes, encoded);
}

void write_png(const fs::path& path, const Image& image) {
  check_writable(path, image);
  std::string bytes;
  const bool encoded = stbi_write_png_to_func(append, &bytes, image.width, image.height, 3,
                                              image.pixels.data(), 3 * image.width);
  write(path, bytes, encoded);
}

}  // namespace scrawl
