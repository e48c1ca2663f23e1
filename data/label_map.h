#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "kernels/labels.h"

namespace scrawl {

/// A class index a pixel, H,W: scribbles, dense masks and predictions.  Files may mark unlabelled pixels with
/// another value; in memory it is always kUnlabelled.
struct LabelMap {
  int height = 0, width = 0;
  std::vector<uint8_t> labels;
};

/// RGB colour of each stored index.
using Palette = std::array<std::array<uint8_t, 3>, 256>;

/// Reads a gray or palette PNG of 1, 2, 4 or 8 bits and returns the stored indices, never their colours.
/// InputError for a file that is missing, damaged or cut short, for RGB, transparency channels and 16 bits,
/// and for more than kMostPixels.  The map takes a byte for each pixel, thousands of which a file may pack
/// into one; beside it, reading takes a small multiple of the file's size.
LabelMap read_stored_indices(const std::filesystem::path& path);

/// The same with pixels of `ignore_label` become kUnlabelled.  InputError, too, for an index outside
/// 0 … classes-1 (names pixel and value).
LabelMap read_label_map(const std::filesystem::path& path, int classes, int ignore_label = kUnlabelled);

/// Writes an 8-bit palette PNG; the file appears under its name only once it is complete.
void write_label_map(const std::filesystem::path& path, const LabelMap& map, const Palette& palette);

}  // namespace scrawl
