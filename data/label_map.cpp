#include "data/label_map.h"

#include <png.h>

#include <csetjmp>
#include <cstring>
#include <string>

#include "data/image.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

/// A PNG being read from memory.  libpng reports errors by longjmp, which skips destructors: the functions
/// that set a jump target therefore own nothing, and report by their return value and `message`.
struct PngReader {
  explicit PngReader(const std::string& file) : bytes(file) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    info = png ? png_create_info_struct(png) : nullptr;
    if (!info) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_user_limits(png, 32768, 32768);
    // Chunks that say nothing about labels are passed over: libpng takes memory for what they promise to
    // hold.
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_read_fn(png, this, read);
  }
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool read_header() {
    if (setjmp(png_jmpbuf(png))) return false;
    png_read_info(png, info);
    return true;
  }

  /// Stored values, one byte each, whatever their depth in the file.
  bool read_values(png_bytep values) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_packing(png);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const size_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    for (int pass = 0; pass < passes; ++pass)
      for (size_t y = 0; y < height; ++y) png_read_row(png, values + y * width, nullptr);
    png_read_end(png, nullptr);
    return true;
  }

  static void read(png_structp png, png_bytep out, size_t count) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->bytes.size() - self->offset) png_error(png, "the file is cut short");
    std::memcpy(out, self->bytes.data() + self->offset, count);
    self->offset += count;
  }
  static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(self->message, text, sizeof self->message - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}

  const std::string& bytes;
  size_t offset = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[128] = {};
};

/// Refuses every form of PNG whose values aren't class indices.
void check_form(const PngReader& reader, const std::string& name) {
  const int type = png_get_color_type(reader.png, reader.info);
  const int depth = png_get_bit_depth(reader.png, reader.info);
  const char* form = type & PNG_COLOR_MASK_ALPHA                                     ? "transparency"
                     : type != PNG_COLOR_TYPE_PALETTE && type & PNG_COLOR_MASK_COLOR ? "RGB colours"
                     : depth == 16                                                   ? "16 bits a pixel"
                                                                                     : nullptr;
  if (form) {
    throw InputError(
        "{}: expected a label map (gray or palette PNG of up to 8 bits, whose values are class "
        "indices), got a PNG with {}",
        name, form);
  }
}

void check_values(LabelMap& map, int classes, int ignore_label, const std::string& name) {
  for (size_t i = 0; i < map.labels.size(); ++i) {
    uint8_t& label = map.labels[i];
    if (label == ignore_label) {
      label = kUnlabelled;
    } else if (label >= classes) {
      throw InputError(
          "{}: pixel (x {}, y {}) holds label {}, expected 0 to {} ({} classes) or {} (unlabelled)", name,
          i % map.width, i / map.width, label, classes - 1, classes, ignore_label);
    }
  }
}

}  // namespace

LabelMap read_stored_indices(const fs::path& path) {
  const std::string name = path.string();
  const std::string bytes = read_file(path);
  PngReader reader(bytes);
  if (!reader.read_header()) {
    throw InputError("{}: cannot be read as a PNG label map: {}", name, reader.message);
  }
  check_form(reader, name);

  LabelMap map;
  map.height = static_cast<int>(png_get_image_height(reader.png, reader.info));
  map.width = static_cast<int>(png_get_image_width(reader.png, reader.info));
  if (int64_t{map.height} * map.width > kMostPixels) {
    throw InputError("{}: {} x {} pixels are too many; at most {} are read", name, map.width, map.height,
                     kMostPixels);
  }
  // Deflate packs at most 1032 bytes into one: a header that promises more is damaged, and not worth the
  // memory.
  if (png_get_rowbytes(reader.png, reader.info) * map.height / 1032 > bytes.size()) {
    throw InputError("{}: cannot be read as a PNG label map: {} bytes do not hold {} x {} pixels", name,
                     bytes.size(), map.width, map.height);
  }
  map.labels.resize(size_t{1} * map.height * map.width);
  if (!reader.read_values(map.labels.data())) {
    throw InputError("{}: cannot be read as a PNG label map: {}", name, reader.message);
  }
  return map;
}

LabelMap read_label_map(const fs::path& path, int classes, int ignore_label) {
  LabelMap map = read_stored_indices(path);
  check_values(map, classes, ignore_label, path.string());
  return map;
}

void write_label_map(const fs::path& path, const LabelMap& map, const Palette& palette) {
  require(map.height > 0 && map.width > 0 && map.labels.size() == size_t{1} * map.height * map.width,
          "{}: a label map of {} x {} with {} labels cannot be written", path.string(), map.height, map.width,
          map.labels.size());
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.height = map.height;
  image.width = map.width;
  image.format = PNG_FORMAT_RGB_COLORMAP;
  image.colormap_entries = palette.size();
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, map.labels.data(), map.width,
                                 palette.data())) {
    throw std::runtime_error(
        fmt::format("{}: the PNG could not be encoded: {}", path.string(), image.message));
  }
  write_file_atomically(path, [&](std::ostream& out) { out.write(bytes.data(), size); });
}

}  // namespace scrawl
