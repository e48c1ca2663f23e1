#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "data/image.h"
#include "data/label_map.h"

namespace scrawl {

/// One image of a contact sheet.  An empty label map leaves a cell that says so.
struct SheetRow {
  std::string id;
  Image photo;
  LabelMap scribble, prediction, truth;
};

/// Photo, scribble, prediction and truth side by side, a row an image, with a legend of the classes below;
/// from seven rows on in two halves beside each other.  Images may differ in size: each is scaled to fit.
Image draw_contact_sheet(std::span<const SheetRow> rows, const Palette& palette,
                         std::span<const std::string> class_names);

void write_contact_sheet(const std::filesystem::path& path, std::span<const SheetRow> rows,
                         const Palette& palette, std::span<const std::string> class_names);

}  // namespace scrawl
