#include "train/report/scribble_report.h"

#include <algorithm>

#include "data/sample_files.h"
#include "engine/error.h"
#include "train/report/overlay.h"

namespace scrawl {
namespace {

Image read_photo(const std::filesystem::path& folder, const std::string& id, const LabelMap& mask) {
  const std::filesystem::path path = find_image(folder, id);
  if (path.empty()) throw InputError("{}: no such photo (.jpg, .jpeg or .png)", (folder / id).string());
  Image photo = read_image(path);
  if (photo.height != mask.height || photo.width != mask.width) {
    throw InputError("{}: the photo is {} x {}, its mask {} x {} (width x height); expected the same",
                     path.string(), photo.width, photo.height, mask.width, mask.height);
  }
  return photo;
}

std::string percent(int64_t part, int64_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.2f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

}  // namespace

std::string scribble_table(const ScribbleSet& set, const ClassList& classes) {
  size_t width = 10;
  for (const std::string& name : classes.names) width = std::max(width, name.size());
  const auto row = [&](std::string_view name, const auto&... cells) {
    return fmt::format("{:{}}  {:>7}  {:>7}  {:>10}  {:>8}  {:>9}  {:>8}  {:>10}  {:>9}\n", name, width,
                       cells...);
  };
  const auto counts = [&](std::string_view name, const ScribbleCount& c) {
    return row(name, c.images, c.marked, c.components, c.strokes, c.too_small, c.dropped, c.pixels,
               percent(c.on_class, c.pixels));
  };
  std::string table =
      row("class", "images", "marked", "components", "strokes", "too small", "dropped", "pixels", "on class");
  ScribbleCount all;
  for (size_t k = 0; k < classes.names.size(); ++k) {
    table += counts(classes.names[k], set.counts[k]);
    all += set.counts[k];
  }
  all.images = static_cast<int64_t>(set.ids.size());
  all.marked = all.images - static_cast<int64_t>(set.empty.size());
  return table + counts("all", all);
}

std::vector<SheetRow> preview_rows(const std::vector<std::string>& ids, const ScribbleSetConfig& config,
                                   const std::filesystem::path& images) {
  constexpr size_t kRows = 8;
  std::vector<SheetRow> rows;
  const size_t count = std::min(kRows, ids.size());
  for (size_t i = 0; i < count; ++i) {
    SheetRow row{.id = ids[i * ids.size() / count]};
    row.truth = read_label_map(config.masks / (row.id + ".png"), kUnlabelled, config.ignore_label);
    // Pale colours of the mask itself stand in for a photo.
    row.photo = images.empty() ? colourise(row.truth, config.palette) : read_photo(images, row.id, row.truth);
    rows.push_back(std::move(row));
  }
  return rows;
}

void write_preview(const std::filesystem::path& path, std::vector<SheetRow> rows,
                   const std::filesystem::path& scribbles, bool photos, const ClassList& classes) {
  for (SheetRow& row : rows) row.scribble = read_label_map(scribbles / (row.id + ".png"), kUnlabelled);
  std::vector<SheetColumn> columns{{"mask", &SheetRow::truth}, kScribbleColumn};
  if (photos) columns.insert(columns.begin(), kPhotoColumn);
  write_contact_sheet(path, rows, columns, classes.palette, classes.names);
}

}  // namespace scrawl
