#include "train/report/canvas.h"

#include <stb/stb_easy_font.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/error.h"

namespace scrawl {
namespace {

std::string printable(std::string_view text) {
  std::string clean(text);
  std::ranges::replace_if(
      clean, [](char c) { return c < ' ' || c > '~'; }, '?');
  return clean;
}

/// Length that [a, b] and the pixel [at, at+1] share.
float shared(float a, float b, int at) {
  const auto pixel = static_cast<float>(at);
  return std::clamp(std::min(b, pixel + 1.0f) - std::max(a, pixel), 0.0f, 1.0f);
}

}  // namespace

Image blank(int height, int width, Rgb colour) {
  Image image{height, width, std::vector<uint8_t>(static_cast<size_t>(height) * width * 3)};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = colour[i % 3];
  return image;
}

void fill(Image& image, float left, float top, float right, float bottom, Rgb colour) {
  const int x0 = std::max(0, static_cast<int>(left)),
            x1 = std::min(image.width, static_cast<int>(std::ceil(right)));
  const int y0 = std::max(0, static_cast<int>(top)),
            y1 = std::min(image.height, static_cast<int>(std::ceil(bottom)));
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const float share = shared(left, right, x) * shared(top, bottom, y);
      uint8_t* pixel = &image.pixels[3 * (static_cast<size_t>(y) * image.width + x)];
      for (int c = 0; c < 3; ++c) {
        pixel[c] = static_cast<uint8_t>(std::lround(pixel[c] + share * (colour[c] - pixel[c])));
      }
    }
  }
}

void paste(Image& image, const Image& picture, int left, int top) {
  require(
      left >= 0 && top >= 0 && left + picture.width <= image.width && top + picture.height <= image.height,
      "paste: {}x{} at ({}, {}) does not fit into {}x{}", picture.width, picture.height, left, top,
      image.width, image.height);
  for (int y = 0; y < picture.height; ++y) {
    std::copy_n(picture.pixels.begin() + 3 * static_cast<int64_t>(y) * picture.width, 3 * picture.width,
                image.pixels.begin() + 3 * (static_cast<int64_t>(top + y) * image.width + left));
  }
}

void write_text(Image& image, float left, float top, std::string_view text, float scale, Rgb colour) {
  struct Corner {  // as stb_easy_font lays out its vertices
    float x, y, z;
    uint32_t colour;
  };
  std::string clean = printable(text);
  std::vector<Corner> corners(clean.size() * 4 * 16 + 4);  // letters have fewer than 16 strokes
  const int strokes = stb_easy_font_print(0, 0, clean.data(), nullptr, corners.data(),
                                          static_cast<int>(corners.size() * sizeof(Corner)));
  for (int i = 0; i < strokes; ++i) {
    const Corner &a = corners[4 * i], &b = corners[4 * i + 2];
    fill(image, left + scale * a.x, top + scale * a.y, left + scale * b.x, top + scale * b.y, colour);
  }
}

float text_width(std::string_view text, float scale) {
  return scale * static_cast<float>(stb_easy_font_width(printable(text).data()));
}

Image scaled(const Image& image, int height, int width) {
  if (image.height == height && image.width == width) return image;
  Image result{height, width, {}};
  result.pixels.reserve(static_cast<size_t>(height) * width * 3);
  // A grid of bilinear samples over each new pixel, at least as fine as the old ones.
  const int taps = std::max({1, (image.height + height - 1) / height, (image.width + width - 1) / width});
  const auto source = [&](int at, int tap, int size, int from) {
    const float place =
        (static_cast<float>(at) + (static_cast<float>(tap) + 0.5f) / static_cast<float>(taps)) *
        static_cast<float>(from) / static_cast<float>(size);
    return std::clamp(place - 0.5f, 0.0f, static_cast<float>(from - 1));
  };
  const auto sample = [&](float y, float x, int channel) {
    const int y0 = static_cast<int>(y), x0 = static_cast<int>(x);
    const int y1 = std::min(y0 + 1, image.height - 1), x1 = std::min(x0 + 1, image.width - 1);
    const auto at = [&](int row, int column) {
      return static_cast<float>(
          image.pixels[3 * (static_cast<size_t>(row) * image.width + column) + channel]);
    };
    const float v = y - static_cast<float>(y0), u = x - static_cast<float>(x0);
    return (1 - v) * ((1 - u) * at(y0, x0) + u * at(y0, x1)) + v * ((1 - u) * at(y1, x0) + u * at(y1, x1));
  };
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        float sum = 0;
        for (int i = 0; i < taps * taps; ++i) {
          sum += sample(source(y, i / taps, height, image.height), source(x, i % taps, width, image.width),
                        channel);
        }
        result.pixels.push_back(static_cast<uint8_t>(std::lround(sum / static_cast<float>(taps * taps))));
      }
    }
  }
  return result;
}

LabelMap scaled(const LabelMap& map, int height, int width) {
  LabelMap result{height, width, {}};
  result.labels.reserve(static_cast<size_t>(height) * width);
  for (int y = 0; y < height; ++y) {
    const int64_t row = (2 * int64_t{y} + 1) * map.height / (2 * height);
    for (int x = 0; x < width; ++x) {
      result.labels.push_back(map.labels[row * map.width + (2 * int64_t{x} + 1) * map.width / (2 * width)]);
    }
  }
  return result;
}

}  // namespace scrawl
