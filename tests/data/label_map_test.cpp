#include "data/label_map.h"

#include <gtest/gtest.h>
#include <png.h>

#include "data/image.h"
#include "engine/files.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

/// A PNG of one row with the given stored values, `depth` bits each.
void write_row(const std::filesystem::path& path, int type, int depth, const std::vector<uint8_t>& values,
               bool interlaced = false) {
  const int channels = type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2 : type == PNG_COLOR_TYPE_RGB ? 3 : 1;
  FILE* file = fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  const int width = static_cast<int>(values.size()) * 8 / std::max(depth, 8) / channels;
  png_set_IHDR(png, info, width, 1, depth, type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  // Colours that say nothing about the index, as a palette may hold.
  std::vector<png_color> colors(size_t{1} << std::min(depth, 8), png_color{9, 9, 9});
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, colors.data(), static_cast<int>(colors.size()));
  png_write_info(png, info);
  if (depth < 8) png_set_packing(png);
  png_bytep row = const_cast<png_bytep>(values.data());
  png_write_image(png, &row);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  fclose(file);
}

TEST(LabelMap, ReadsStoredIndicesOfEveryDepth) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.png";
  for (const int type : {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_PALETTE}) {
    for (const int depth : {1, 2, 4, 8}) {
      for (const bool interlaced : {false, true}) {
        SCOPED_TRACE(testing::Message()
                     << "type " << type << " depth " << depth << " interlaced " << interlaced);
        std::vector<uint8_t> values;
        for (int i = 0; i < 13; ++i) values.push_back(static_cast<uint8_t>(i % std::min(1 << depth, 21)));
        write_row(path, type, depth, values, interlaced);
        const LabelMap map = read_label_map(path, 21);
        EXPECT_EQ(map.height, 1);
        EXPECT_EQ(map.width, 13);
        EXPECT_EQ(map.labels, values);
      }
    }
  }
}

TEST(LabelMap, WritesWhatItReads) {
  const TemporaryDirectory directory;
  Palette palette{};
  for (int i = 0; i < 256; ++i) palette[i] = {static_cast<uint8_t>(i), static_cast<uint8_t>(255 - i), 7};
  LabelMap map{3, 5, {0, 1, 2, 3, 4, 255, 6, 7, 8, 9, 10, 255, 12, 13, 14}};
  const auto path = directory.path / "deep" / "a.png";
  write_label_map(path, map, palette);
  EXPECT_EQ(read_label_map(path, 21).labels, map.labels);
  const Image colours = read_image(path);  // a viewer sees the palette
  EXPECT_EQ(colours.pixels[3 * 7], 7);
  EXPECT_EQ(colours.pixels[3 * 7 + 1], 248);
  EXPECT_EQ(colours.pixels[3 * 5], 255);
}

TEST(LabelMap, AnotherIgnoreLabelBecomesUnlabelled) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.png";
  write_row(path, PNG_COLOR_TYPE_GRAY, 8, {0, 11, 3});
  EXPECT_EQ(read_label_map(path, 11, 11).labels, (std::vector<uint8_t>{0, 255, 3}));
  write_row(path, PNG_COLOR_TYPE_GRAY, 8, {0, 255, 3});
  expect_input_error([&] { read_label_map(path, 11, 11); }, {"255", "11 classes"});
}

/// A chunk of a PNG, without its checksum, that says it has `length` bytes.
std::string chunk(uint32_t length, const std::string& content) {
  return std::string{static_cast<char>(length >> 24), static_cast<char>(length >> 16),
                     static_cast<char>(length >> 8), static_cast<char>(length)} +
         content;
}

TEST(LabelMap, TakesNoMemoryForWhatAFileOnlyPromises) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.png";
  write_row(path, PNG_COLOR_TYPE_GRAY, 8, {0, 1, 2});
  std::string bytes = read_file(path);
  bytes.insert(33, chunk(0x7FFFFFF0, "zTXtabc"));  // behind the header
  write_bytes(path, bytes);
  expect_input_error([&] { read_label_map(path, 21); }, {"a.png", "cannot be read"});
}

TEST(LabelMap, RefusesMorePixelsThanPhotosHave) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.png";
  FILE* file = fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, 8192, 16385, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  png_write_chunk(png, reinterpret_cast<png_const_bytep>("IDAT"), reinterpret_cast<png_const_bytep>("x"), 1);
  png_destroy_write_struct(&png, &info);
  fclose(file);
  expect_input_error([&] { read_label_map(path, 21); }, {"a.png", "8192 x 16385", "too many"});
}

TEST(LabelMap, RefusesIndicesOutOfRange) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.png";
  write_row(path, PNG_COLOR_TYPE_GRAY, 8, {0, 3, 255, 21, 22});
  expect_input_error([&] { read_label_map(path, 21); },
                     {path.string(), "x 3, y 0", "label 21", "21 classes"});
}

TEST(LabelMap, RefusesColoursAndOtherForms) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.png";
  write_row(path, PNG_COLOR_TYPE_RGB, 8, {1, 1, 1, 2, 2, 2});
  expect_input_error([&] { read_label_map(path, 21); }, {path.string(), "label map", "RGB"});
  write_row(path, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {1, 255, 2, 255});
  expect_input_error([&] { read_label_map(path, 21); }, {"label map", "transparency"});
  write_row(path, PNG_COLOR_TYPE_GRAY, 16, {0, 1, 0, 2});
  expect_input_error([&] { read_label_map(path, 21); }, {"label map", "16 bits"});
}

TEST(LabelMap, RefusesDamage) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.png";
  expect_input_error([&] { read_label_map(path, 21); }, {path.string(), "no such file"});
  LabelMap map{64, 64, std::vector<uint8_t>(64 * 64)};
  for (size_t i = 0; i < map.labels.size(); ++i) map.labels[i] = static_cast<uint8_t>(i * i % 19);
  write_label_map(path, map, Palette{});
  const std::string bytes = read_file(path);
  for (size_t length = 0; length < bytes.size(); length += 97) {
    write_bytes(path, bytes.substr(0, length));
    expect_input_error([&] { read_label_map(path, 21); }, {path.string()});
  }
  std::string damaged = bytes;
  damaged[bytes.size() / 2] ^= 0x10;  // caught by the checksum
  write_bytes(path, damaged);
  expect_input_error([&] { read_label_map(path, 21); }, {path.string()});
}

}  // namespace
}  // namespace scrawl
