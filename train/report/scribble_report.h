#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/class_list.h"
#include "data/mask_scribbles.h"
#include "train/report/contact_sheet.h"

namespace scrawl {

/// A table for the terminal: what became of the components of each class, and the share of drawn pixels that
/// lie on their class.
std::string scribble_table(const ScribbleSet& set, const ClassList& classes);

/// Masks, and photos from the folder `images` unless that is empty, of ids spread evenly over the set.
/// InputError when a photo is missing or differs from its mask in size.
std::vector<SheetRow> preview_rows(const std::vector<std::string>& ids, const ScribbleSetConfig& config,
                                   const std::filesystem::path& images);

/// Writes the rows with their scribbles from the folder `scribbles`.
void write_preview(const std::filesystem::path& path, std::vector<SheetRow> rows,
                   const std::filesystem::path& scribbles, bool photos, const ClassList& classes);

}  // namespace scrawl
