#include "train/report/contact_sheet.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "train/report/canvas.h"
#include "train/report/overlay.h"

namespace scrawl {
namespace {

constexpr int kCellHeight = 160, kWidestCell = 240;
constexpr int kMargin = 20, kGap = 6, kRowGap = 24, kHeader = 30, kLegendLine = 26;
constexpr int kRowsUntilTwoHalves = 6;
constexpr Rgb kPaper{250, 250, 248}, kInk{40, 40, 44}, kPaleInk{130, 130, 136}, kEmptyCell{228, 228, 226};
constexpr float kOpacity = 0.72f, kTextScale = 1.75f, kSmallTextScale = 1.25f;

/// Where everything goes, in pixels.
struct Layout {
  int columns, halves, rows_in_half, cell_width, width, height, legend_top;

  int half_width() const { return columns * cell_width + (columns - 1) * kGap; }
  int column_left(int half, int column) const {
    return kMargin + half * (half_width() + 2 * kMargin) + column * (cell_width + kGap);
  }
  int row_top(int row) const { return kMargin + kHeader + row * (kCellHeight + kRowGap); }
};

/// Height and width of the photo inside a cell.
std::array<int, 2> fitted(const Image& photo, int cell_width) {
  const double scale = std::min(static_cast<double>(kCellHeight) / photo.height,
                                static_cast<double>(cell_width) / photo.width);
  return {std::clamp(static_cast<int>(std::lround(scale * photo.height)), 1, kCellHeight),
          std::clamp(static_cast<int>(std::lround(scale * photo.width)), 1, cell_width)};
}

float legend_entry_width(std::string_view name) {
  return 16 + 6 + text_width(name, kTextScale) + 20;
}

/// Calls visit(name index, left, line) for every legend entry and returns the number of lines.
template <typename Visit>
int lay_out_legend(std::span<const std::string> names, int width, Visit visit) {
  float left = kMargin;
  int line = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const float entry = legend_entry_width(names[i]);
    if (left > kMargin && left + entry > static_cast<float>(width - kMargin)) {
      left = kMargin;
      ++line;
    }
    visit(i, left, line);
    left += entry;
  }
  return line + 1;
}

Layout lay_out(std::span<const SheetRow> rows, int columns, std::span<const std::string> names) {
  Layout layout{.columns = columns};
  const int count = static_cast<int>(rows.size());
  layout.halves = count > kRowsUntilTwoHalves ? 2 : 1;
  layout.rows_in_half = (count + layout.halves - 1) / layout.halves;
  layout.cell_width = 80;
  for (const SheetRow& row : rows) {
    layout.cell_width = std::max(layout.cell_width, fitted(row.photo, kWidestCell)[1]);
  }
  layout.width = layout.column_left(layout.halves - 1, columns - 1) + layout.cell_width + kMargin;
  layout.legend_top = layout.row_top(layout.rows_in_half) + 4;
  const int lines = lay_out_legend(names, layout.width, [](size_t, float, int) {});
  layout.height = layout.legend_top + lines * kLegendLine + kMargin - 8;
  return layout;
}

void draw_empty_cell(Image& sheet, int left, int top, int width) {
  const auto x = static_cast<float>(left), y = static_cast<float>(top);
  fill(sheet, x, y, x + static_cast<float>(width), y + kCellHeight, kEmptyCell);
  constexpr std::string_view kNone = "none";
  const float indent = 0.5f * (static_cast<float>(width) - text_width(kNone, kSmallTextScale));
  write_text(sheet, x + indent, y + 0.5f * kCellHeight - 5, kNone, kSmallTextScale, kPaleInk);
}

void draw_row(Image& sheet, const Layout& layout, const SheetRow& row, std::span<const SheetColumn> columns,
              const Palette& palette, int half, int top) {
  const auto [height, width] = fitted(row.photo, layout.cell_width);
  const Image photo = scaled(row.photo, height, width);
  for (int i = 0; i < layout.columns; ++i) {
    const SheetColumn& column = columns[i];
    const int left = layout.column_left(half, i);
    const LabelMap* map = column.map ? &(row.*column.map) : nullptr;
    if (map != nullptr && map->labels.empty()) {
      draw_empty_cell(sheet, left, top, layout.cell_width);
      continue;
    }
    const Image cell = map == nullptr   ? photo
                       : column.strokes ? strokes_over(photo, *map, palette, 2.2f)
                                        : overlay(photo, scaled(*map, height, width), palette, kOpacity);
    paste(sheet, cell, left + (layout.cell_width - width) / 2, top + (kCellHeight - height) / 2);
  }
  const int photo_left = layout.column_left(half, 0) + (layout.cell_width - width) / 2;
  const int photo_bottom = top + (kCellHeight + height) / 2;
  write_text(sheet, static_cast<float>(photo_left), static_cast<float>(photo_bottom + 5), row.id,
             kSmallTextScale, kPaleInk);
}

void draw_legend(Image& sheet, const Layout& layout, const Palette& palette,
                 std::span<const std::string> names) {
  lay_out_legend(names, layout.width, [&](size_t i, float left, int line) {
    const auto top = static_cast<float>(layout.legend_top + line * kLegendLine);
    fill(sheet, left, top, left + 16, top + 16, kPaleInk);
    fill(sheet, left + 1, top + 1, left + 15, top + 15, palette[i]);
    write_text(sheet, left + 22, top + 2, names[i], kTextScale, kInk);
  });
}

}  // namespace

Image draw_contact_sheet(std::span<const SheetRow> rows, std::span<const SheetColumn> columns,
                         const Palette& palette, std::span<const std::string> class_names) {
  const Layout layout = lay_out(rows, static_cast<int>(columns.size()), class_names);
  Image sheet = blank(layout.height, layout.width, kPaper);
  for (int half = 0; half < layout.halves; ++half) {
    for (int i = 0; i < layout.columns; ++i) {
      write_text(sheet, static_cast<float>(layout.column_left(half, i)), kMargin, columns[i].caption,
                 kTextScale, kInk);
    }
  }
  for (int i = 0; i < static_cast<int>(rows.size()); ++i) {
    draw_row(sheet, layout, rows[i], columns, palette, i / layout.rows_in_half,
             layout.row_top(i % layout.rows_in_half));
  }
  draw_legend(sheet, layout, palette, class_names);
  return sheet;
}

void write_contact_sheet(const std::filesystem::path& path, std::span<const SheetRow> rows,
                         std::span<const SheetColumn> columns, const Palette& palette,
                         std::span<const std::string> class_names) {
  write_png(path, draw_contact_sheet(rows, columns, palette, class_names));
}

}  // namespace scrawl
