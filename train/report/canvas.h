#pragma once
// What a contact sheet is drawn with: rectangles, pasted pictures, text, scaling.
#include <array>
#include <string_view>

#include "data/image.h"
#include "data/label_map.h"

namespace scrawl {

using Rgb = std::array<uint8_t, 3>;

Image blank(int height, int width, Rgb colour);

/// Blends a rectangle into the image; edges may lie between pixels, which get their share, and outside.
void fill(Image& image, float left, float top, float right, float bottom, Rgb colour);

/// Copies `picture` to where its upper left corner is given; it must fit.
void paste(Image& image, const Image& picture, int left, int top);

/// Capital letters are 7·scale pixels high.  What is not printable ASCII shows as '?'.
void write_text(Image& image, float left, float top, std::string_view text, float scale, Rgb colour);
float text_width(std::string_view text, float scale);

/// Photos are averaged, labels taken from the nearest pixel.
Image scaled(const Image& image, int height, int width);
LabelMap scaled(const LabelMap& map, int height, int width);

}  // namespace scrawl
