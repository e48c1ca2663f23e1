#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace scrawl {

/// A photo: 8-bit RGB, H,W,3.
struct Image {
  int height = 0, width = 0;
  std::vector<uint8_t> pixels;
};

struct ImageSize {
  int height = 0, width = 0;
  bool operator==(const ImageSize&) const = default;
};

/// What photos and label maps may have: a few bytes can promise gigabytes.
inline constexpr int64_t kMostPixels = int64_t{1} << 27;

/// The size that the header of a JPEG, PNG or BMP gives; InputError when there is none, or more than
/// kMostPixels.
ImageSize read_image_size(const std::filesystem::path& path);

/// Reads a JPEG, PNG or BMP; gray becomes RGB, transparency is dropped.
/// InputError for a file that is missing, of no known format, damaged or cut short.
Image read_image(const std::filesystem::path& path);

/// `quality` 1 … 100.  Both appear under their name only once they are complete.
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality);
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace scrawl
