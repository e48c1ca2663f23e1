#pragma once
#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "data/image.h"
#include "data/label_map.h"

namespace scrawl {

/// One image of a contact sheet.  An empty label map leaves a cell that says so.
struct SheetRow {
  std::string id;
  Image photo;
  LabelMap scribble, prediction, truth;
};

/// What one column shows of every row: the photo alone, or with a label map over it.
struct SheetColumn {
  std::string_view caption;
  LabelMap SheetRow::*map = nullptr;
  bool strokes = false;  // thin lines on a pale photo, instead of areas
};
inline constexpr SheetColumn kPhotoColumn{"photo"}, kScribbleColumn{"scribble", &SheetRow::scribble, true},
    kPredictionColumn{"prediction", &SheetRow::prediction}, kTruthColumn{"truth", &SheetRow::truth};
inline constexpr std::array kResultColumns{kPhotoColumn, kScribbleColumn, kPredictionColumn, kTruthColumn};

/// The columns side by side, a row an image, with a legend of the classes below; from seven rows on in two
/// halves beside each other.  Images may differ in size: each is scaled to fit.
Image draw_contact_sheet(std::span<const SheetRow> rows, std::span<const SheetColumn> columns,
                         const Palette& palette, std::span<const std::string> class_names);

void write_contact_sheet(const std::filesystem::path& path, std::span<const SheetRow> rows,
                         std::span<const SheetColumn> columns, const Palette& palette,
                         std::span<const std::string> class_names);

}  // namespace scrawl
