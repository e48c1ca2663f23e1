#include "data/augmentation.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace scrawl {

namespace {

constexpr int kChannels = 3;

FloatImage image_of(int height, int width) {
  return {height, width, std::vector<float>(size_t{kChannels} * height * width)};
}
LabelMap map_of(int height, int width) {
  return {height, width, std::vector<uint8_t>(size_t{1} * height * width)};
}
float* row(FloatImage& image, int y) {
  return image.pixels.data() + size_t{kChannels} * y * image.width;
}
const float* row(const FloatImage& image, int y) {
  return image.pixels.data() + size_t{kChannels} * y * image.width;
}
uint8_t* row(LabelMap& map, int y) {
  return map.labels.data() + size_t{1} * y * map.width;
}
const uint8_t* row(const LabelMap& map, int y) {
  return map.labels.data() + size_t{1} * y * map.width;
}

/// Where an output position of a resized axis reads: between source positions `low` and `high`.
struct Tap {
  int low, high;
  float weight;  // of `high`
};

std::vector<Tap> bilinear_taps(int size, double scale) {
  std::vector<Tap> taps(scaled_size(size, scale));
  for (int i = 0; i < taps.size(); ++i) {
    const float at =
        std::clamp(static_cast<float>((i + 0.5) / scale - 0.5), 0.0f, static_cast<float>(size - 1));
    const int low = static_cast<int>(at);
    taps[i] = {low, std::min(low + 1, size - 1), at - static_cast<float>(low)};
  }
  return taps;
}

/// One source row, resampled to the output's width.
void resize_row(const float* in, const std::vector<Tap>& taps, float* out) {
  for (const Tap& tap : taps) {
    const float *low = in + kChannels * tap.low, *high = in + kChannels * tap.high;
    for (int c = 0; c < kChannels; ++c) out[c] = low[c] + tap.weight * (high[c] - low[c]);
    out += kChannels;
  }
}

/// OpenCV's fixed-point form of the inverse of a rotation about the centre: source coordinates in 1/1024
/// pixel, as a sum of one part that depends on x and one on y, each rounded.
class InverseRotation {
 public:
  InverseRotation(int height, int width, double degrees) : across_(width), down_(height) {
    const double angle = degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
    const double cx = width / 2.0, cy = height / 2.0;
    for (int x = 0; x < width; ++x) across_[x] = {fixed(c * x), fixed(s * x)};
    for (int y = 0; y < height; ++y) {
      down_[y] = {fixed(-s * y + cx - c * cx + s * cy), fixed(c * y + cy - s * cx - c * cy)};
    }
  }

  struct Position {
    int x, y;
  };
  /// Source of output pixel (x, y) in units of 2^-bits pixel, rounded.
  Position source(int x, int y, int bits) const {
    const int shift = kBits - bits, half = 1 << (shift - 1);
    return {(across_[x].x + down_[y].x + half) >> shift, (across_[x].y + down_[y].y + half) >> shift};
  }

 private:
  static constexpr int kBits = 10;
  static int fixed(double value) { return static_cast<int>(std::lrint(value * (1 << kBits))); }
  std::vector<Position> across_, down_;
};

/// Bilinear mixture of four neighbours: a and b above, c and d below.
inline void mix(const float* a, const float* b, const float* c, const float* d, float right_share,
                float low_share, float* out) {
  for (int k = 0; k < kChannels; ++k) {
    const float upper = a[k] + right_share * (b[k] - a[k]), lower = c[k] + right_share * (d[k] - c[k]);
    out[k] = upper + low_share * (lower - upper);
  }
}

/// The weights that OpenCV uses for 5 points when no sigma is given: binomial, sigma about 1.1.
void blur_line(const float* a, const float* b, const float* c, const float* d, const float* e, int length,
               float* __restrict out) {
  for (int i = 0; i < length; ++i) {
    out[i] = 0.0625f * (a[i] + e[i]) + 0.25f * (b[i] + d[i]) + 0.375f * c[i];
  }
}

/// Reflects a position at the edges without repeating them: -1 becomes 1.
int reflect(int i, int size) {
  if (size == 1) return 0;
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}

/// A row with two more pixels on either side, reflected.
void pad_row(const float* from, int width, float* out) {
  std::copy_n(from, kChannels * width, out + 2 * kChannels);
  for (const int x : {-2, -1, width, width + 1}) {
    std::copy_n(from + kChannels * reflect(x, width), kChannels, out + kChannels * (x + 2));
  }
}

/// The part of a window's axis that lies inside the image: output positions [begin, end).
struct Overlap {
  int begin, end;
};
Overlap overlap(int start, int length, int size) {
  const int begin = std::clamp(-start, 0, length);
  return {begin, std::clamp(size - start, begin, length)};
}

void fill_mean(float* out, int pixels) {
  for (int i = 0; i < pixels; ++i)
    std::copy(kPixelMean.begin(), kPixelMean.end(), out + size_t{kChannels} * i);
}

}  // namespace

FloatImage to_float(const Image& image) {
  return {image.height, image.width, {image.pixels.begin(), image.pixels.end()}};
}

int scaled_size(int size, double scale) {
  return std::max(1, static_cast<int>(std::lrint(size * scale)));
}

FloatImage resize_bilinear(const FloatImage& image, double scale) {
  const std::vector<Tap> down = bilinear_taps(image.height, scale),
                         across = bilinear_taps(image.width, scale);
  FloatImage out = image_of(down.size(), across.size());
  const int length = kChannels * out.width;
  // The two source rows that the current output row lies between, already at the output's width.
  std::vector<float> low(length), high(length);
  int low_row = -1, high_row = -1;
  for (int y = 0; y < out.height; ++y) {
    const Tap& tap = down[y];
    if (tap.low == high_row) std::swap(low, high), std::swap(low_row, high_row);
    if (tap.low != low_row) resize_row(row(image, low_row = tap.low), across, low.data());
    if (tap.high != high_row) resize_row(row(image, high_row = tap.high), across, high.data());
    float* to = row(out, y);
    for (int i = 0; i < length; ++i) to[i] = low[i] + tap.weight * (high[i] - low[i]);
  }
  return out;
}

LabelMap resize_nearest(const LabelMap& map, double scale) {
  LabelMap out = map_of(scaled_size(map.height, scale), scaled_size(map.width, scale));
  auto source = [&](int i, int size) { return std::min(static_cast<int>(i * (1 / scale)), size - 1); };
  std::vector<int> across(out.width);
  for (int x = 0; x < out.width; ++x) across[x] = source(x, map.width);
  for (int y = 0; y < out.height; ++y) {
    const uint8_t* from = row(map, source(y, map.height));
    uint8_t* to = row(out, y);
    for (int x = 0; x < out.width; ++x) to[x] = from[across[x]];
  }
  return out;
}

FloatImage rotate(const FloatImage& image, double degrees) {
  const InverseRotation inverse(image.height, image.width, degrees);
  FloatImage out = image_of(image.height, image.width);
  const ptrdiff_t stride = ptrdiff_t{kChannels} * image.width;
  auto pixel = [&](int x, int y) {
    const bool inside = x >= 0 && x < image.width && y >= 0 && y < image.height;
    return inside ? row(image, y) + kChannels * x : kPixelMean.data();
  };
  for (int y = 0; y < image.height; ++y) {
    float* to = row(out, y);
    for (int x = 0; x < image.width; ++x, to += kChannels) {
      const auto at = inverse.source(x, y, 5);
      const int left = at.x >> 5, top = at.y >> 5;
      const float right_share = (at.x & 31) / 32.0f, low_share = (at.y & 31) / 32.0f;
      if (left >= 0 && left + 1 < image.width && top >= 0 && top + 1 < image.height) {  // nearly always
        const float* a = image.pixels.data() + top * stride + kChannels * left;
        mix(a, a + kChannels, a + stride, a + stride + kChannels, right_share, low_share, to);
      } else {
        mix(pixel(left, top), pixel(left + 1, top), pixel(left, top + 1), pixel(left + 1, top + 1),
            right_share, low_share, to);
      }
    }
  }
  return out;
}

LabelMap rotate(const LabelMap& map, double degrees) {
  const InverseRotation inverse(map.height, map.width, degrees);
  LabelMap out = map_of(map.height, map.width);
  for (int y = 0; y < map.height; ++y) {
    uint8_t* to = row(out, y);
    for (int x = 0; x < map.width; ++x) {
      const auto at = inverse.source(x, y, 0);
      const bool inside = at.x >= 0 && at.x < map.width && at.y >= 0 && at.y < map.height;
      to[x] = inside ? row(map, at.y)[at.x] : kUnlabelled;
    }
  }
  return out;
}

FloatImage blur(const FloatImage& image) {
  constexpr int kRows = 5;
  const int length = kChannels * image.width;
  FloatImage out = image_of(image.height, image.width);
  FloatImage across = image_of(kRows, image.width);   // row y, blurred sideways, sits in row y % 5
  std::vector<float> padded(length + 4 * kChannels);  // a row with two pixels more on either side
  int done = 0;
  for (int y = 0; y < image.height; ++y) {
    for (; done < std::min(y + 3, image.height); ++done) {
      pad_row(row(image, done), image.width, padded.data());
      const float* p = padded.data();
      blur_line(p, p + kChannels, p + 2 * kChannels, p + 3 * kChannels, p + 4 * kChannels, length,
                row(across, done % kRows));
    }
    auto near = [&](int offset) {
      return row(std::as_const(across), reflect(y + offset, image.height) % kRows);
    };
    blur_line(near(-2), near(-1), near(0), near(1), near(2), length, row(out, y));
  }
  return out;
}

FloatImage flip(const FloatImage& image) {
  FloatImage out = image_of(image.height, image.width);
  for (int y = 0; y < image.height; ++y) {
    const float* from = row(image, y) + size_t{kChannels} * image.width;
    float* to = row(out, y);
    for (int x = 0; x < image.width; ++x, to += kChannels) {
      from -= kChannels;
      for (int c = 0; c < kChannels; ++c) to[c] = from[c];
    }
  }
  return out;
}

LabelMap flip(const LabelMap& map) {
  LabelMap out = map;
  for (int y = 0; y < out.height; ++y) std::reverse(row(out, y), row(out, y) + out.width);
  return out;
}

FloatImage crop(const FloatImage& image, Window window) {
  FloatImage out = image_of(window.height, window.width);
  const Overlap down = overlap(window.top, window.height, image.height);
  const Overlap across = overlap(window.left, window.width, image.width);
  for (int y = 0; y < window.height; ++y) {
    float* to = row(out, y);
    if (y < down.begin || y >= down.end || across.begin == across.end) {
      fill_mean(to, window.width);
      continue;
    }
    fill_mean(to, across.begin);
    std::copy_n(row(image, window.top + y) + kChannels * (window.left + across.begin),
                kChannels * (across.end - across.begin), to + kChannels * across.begin);
    fill_mean(to + kChannels * across.end, window.width - across.end);
  }
  return out;
}

LabelMap crop(const LabelMap& map, Window window) {
  LabelMap out{window.height, window.width,
               std::vector<uint8_t>(size_t{1} * window.height * window.width, kUnlabelled)};
  const Overlap down = overlap(window.top, window.height, map.height);
  const Overlap across = overlap(window.left, window.width, map.width);
  for (int y = down.begin; y < down.end && across.begin < across.end; ++y) {
    std::copy_n(row(map, window.top + y) + window.left + across.begin, across.end - across.begin,
                row(out, y) + across.begin);
  }
  return out;
}

Window center_window(int height, int width, int crop_height, int crop_width) {
  // Towards zero in both cases: of an odd padding, and of an odd remainder, the smaller half comes first.
  return {(height - crop_height) / 2, (width - crop_width) / 2, crop_height, crop_width};
}

void normalise(const FloatImage& image, float* out) {
  const size_t pixels = image.pixels.size() / kChannels;
  for (size_t i = 0; i < pixels; ++i) {
    for (int c = 0; c < kChannels; ++c) {
      out[kChannels * i + c] = (image.pixels[kChannels * i + c] - kPixelMean[c]) / kPixelStd[c];
    }
  }
}

AugmentationPlan draw_augmentation(Random& random, int height, int width, int crop_height, int crop_width) {
  AugmentationPlan plan;
  plan.scale = random.uniform(0.5f, 2.0f);
  // The angle is drawn even if unused, so that each choice has its place in the random stream.
  const bool rotated = random.chance(0.5f);
  const float degrees = random.uniform(-10.0f, 10.0f);
  if (rotated) plan.degrees = degrees;
  plan.blur = random.chance(0.5f);
  plan.flip = random.chance(0.5f);
  const int scaled_height = scaled_size(height, plan.scale), scaled_width = scaled_size(width, plan.scale);
  plan.window = center_window(scaled_height, scaled_width, crop_height, crop_width);
  const uint64_t down = std::max(scaled_height - crop_height, 0) + 1;
  const uint64_t across = std::max(scaled_width - crop_width, 0) + 1;
  const int top = static_cast<int>(random.below(down)), left = static_cast<int>(random.below(across));
  if (down > 1) plan.window.top = top;
  if (across > 1) plan.window.left = left;
  return plan;
}

void augment(const AugmentationPlan& plan, FloatImage& image, LabelMap& label) {
  image = resize_bilinear(image, plan.scale);
  label = resize_nearest(label, plan.scale);
  if (plan.degrees) {
    image = rotate(image, *plan.degrees);
    label = rotate(label, *plan.degrees);
  }
  if (plan.blur) image = blur(image);
  if (plan.flip) {
    image = flip(image);
    label = flip(label);
  }
  image = crop(image, plan.window);
  label = crop(label, plan.window);
}

}  // namespace scrawl
