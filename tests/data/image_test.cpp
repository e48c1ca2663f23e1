#include "data/image.h"

#include <gtest/gtest.h>

#include "engine/files.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

/// Smooth, so that JPEG keeps it nearly as it is.
Image gradient(int height, int width) {
  Image image{height, width, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (const int value : {3 * x, 4 * y, 100 + x - y}) image.pixels.push_back(static_cast<uint8_t>(value));
    }
  }
  return image;
}

TEST(Image, PngKeepsEveryPixel) {
  const TemporaryDirectory directory;
  const Image image = gradient(13, 37);
  write_png(directory.path / "new" / "a.png", image);
  const Image read = read_image(directory.path / "new" / "a.png");
  EXPECT_EQ(read.height, 13);
  EXPECT_EQ(read.width, 37);
  EXPECT_EQ(read.pixels, image.pixels);
}

TEST(Image, JpegKeepsPixelsNearly) {
  const TemporaryDirectory directory;
  const Image image = gradient(33, 50);
  write_jpeg(directory.path / "a.jpg", image, 95);
  const Image read = read_image(directory.path / "a.jpg");
  ASSERT_EQ(read.pixels.size(), image.pixels.size());
  for (size_t i = 0; i < image.pixels.size(); ++i) EXPECT_NEAR(read.pixels[i], image.pixels[i], 12);
}

TEST(Image, HeadersTellTheSize) {
  const TemporaryDirectory directory;
  const std::filesystem::path jpeg = directory.path / "a.jpg", png = directory.path / "a.png";
  write_jpeg(jpeg, gradient(33, 50), 95);
  write_png(png, gradient(33, 50));
  for (const auto& path : {jpeg, png}) {
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 20);  // the end is not looked at
    const auto [height, width] = read_image_size(path);
    EXPECT_EQ(height, 33);
    EXPECT_EQ(width, 50);
    write_bytes(path, read_file(path).substr(0, 20));
    expect_input_error([&] { read_image_size(path); }, {path.string()});
  }
  expect_input_error([&] { read_image_size(directory.path / "none.jpg"); }, {"none.jpg"});
}

TEST(Image, GrayBecomesRgb) {
  const TemporaryDirectory directory;
  // 2 x 1 pixels of 8-bit gray, 10 and 200, as libpng writes them.
  const unsigned char png[] = {
      0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
      0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0xd1, 0x49, 0x20, 0x56, 0x00,
      0x00, 0x00, 0x0b, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xe0, 0x3a, 0x01, 0x00, 0x00, 0xdf, 0x00,
      0xd3, 0x4b, 0x21, 0xa5, 0x49, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
  write_bytes(directory.path / "gray.png", std::string(reinterpret_cast<const char*>(png), sizeof png));
  EXPECT_EQ(read_image(directory.path / "gray.png").pixels,
            (std::vector<uint8_t>{10, 10, 10, 200, 200, 200}));
}

TEST(Image, RefusesJpegCutShort) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path / "a.jpg";
  write_jpeg(path, gradient(64, 64), 90);
  const std::string bytes = read_file(path);
  for (const size_t length : {size_t{0}, size_t{3}, size_t{20}, bytes.size() / 2, bytes.size() - 2}) {
    write_bytes(path, bytes.substr(0, length));
    expect_input_error([&] { read_image(path); }, {path.string()});
  }
  write_bytes(path, bytes + std::string(100, '\0'));  // some cameras and editors append bytes
  EXPECT_EQ(read_image(path).width, 64);
}

TEST(Image, EndMarkerOfAThumbnailDoesNotHideACut) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path / "a.jpg";
  write_jpeg(path, gradient(64, 64), 90);
  const std::string bytes = read_file(path);
  const std::string thumbnail("\xFF\xE1\x00\x06\xFF\xD8\xFF\xD9",
                              8);  // an APP1 segment that holds a tiny JPEG
  const std::string with_thumbnail = bytes.substr(0, 2) + thumbnail + bytes.substr(2);
  write_bytes(path, with_thumbnail);
  EXPECT_EQ(read_image(path).height, 64);
  write_bytes(path, with_thumbnail.substr(0, with_thumbnail.size() / 2));
  expect_input_error([&] { read_image(path); }, {"cut short"});
}

TEST(Image, RefusesWhatIsNoImage) {
  const TemporaryDirectory directory;
  expect_input_error([&] { read_image(directory.path / "none.jpg"); }, {"none.jpg", "no such file"});
  expect_input_error([&] { read_image(directory.path); }, {directory.path.string()});
  write_bytes(directory.path / "text.jpg", "not an image");
  expect_input_error([&] { read_image(directory.path / "text.jpg"); }, {"text.jpg", "JPEG, PNG or BMP"});
  write_png(directory.path / "a.png", gradient(40, 40));
  const std::string bytes = read_file(directory.path / "a.png");
  write_bytes(directory.path / "a.png", bytes.substr(0, bytes.size() / 2));
  expect_input_error([&] { read_image(directory.path / "a.png"); }, {"a.png"});
}

}  // namespace
}  // namespace scrawl
