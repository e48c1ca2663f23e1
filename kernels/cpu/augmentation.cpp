// Crops of augmented images, one thread a crop, row by row: only what the crop shows of the scaled image is
// made.  Rows are resized sideways once and mixed downwards; a rotation gathers from such rows, kept for the
// part of the image that it reads; a blur keeps five rows, blurred sideways.
#include "kernels/augmentation.h"

#include <utility>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {
namespace {

/// Positions [begin, end) of an axis.
struct Range {
  int begin, end;

  int size() const { return end - begin; }
  Range within(int length) const {
    const int first = std::clamp(begin, 0, length);
    return {first, std::clamp(end, first, length)};
  }
  Range widened(int by) const { return {begin - by, end + by}; }
};

/// A rectangle of the scaled image.
struct Region {
  Range rows, columns;

  bool empty() const { return rows.size() == 0 || columns.size() == 0; }
  int row_values() const { return 3 * columns.size(); }
  int64_t values() const { return int64_t{rows.size()} * row_values(); }
};

/// What the crop shows.
Region shown(const CropPlan& plan, int height, int width) {
  const Range rows = Range{plan.top, plan.top + height}.within(plan.scaled_height);
  const Range columns = Range{plan.left, plan.left + width}.within(plan.scaled_width);
  if (!plan.flipped) return {rows, columns};
  return {rows, {plan.scaled_width - columns.end, plan.scaled_width - columns.begin}};
}

/// With the pixels around it that a blur reads.
Region blurred_from(const CropPlan& plan, const Region& region) {
  if (!plan.blurred || region.empty()) return region;
  return {region.rows.widened(kBlurReach).within(plan.scaled_height),
          region.columns.widened(kBlurReach).within(plan.scaled_width)};
}

/// What a rotation reads for a region: the corners are the farthest.
Region rotated_from(const CropPlan& plan, const Region& region) {
  if (!plan.rotated || region.empty()) return region;
  const auto corner = [&](int x, int y) {
    const auto at = plan.before_rotation(x, y, 5);
    return CropPlan::Position{at.x >> 5, at.y >> 5};
  };
  const auto [x0, y0] = corner(region.columns.begin, region.rows.begin);
  const auto [x1, y1] = corner(region.columns.end - 1, region.rows.begin);
  const auto [x2, y2] = corner(region.columns.begin, region.rows.end - 1);
  const auto [x3, y3] = corner(region.columns.end - 1, region.rows.end - 1);
  return {Range{std::min({y0, y1, y2, y3}), std::max({y0, y1, y2, y3}) + 2}.within(plan.scaled_height),
          Range{std::min({x0, x1, x2, x3}), std::max({x0, x1, x2, x3}) + 2}.within(plan.scaled_width)};
}

/// Rows of the scaled image, some of their columns; asked for from top to bottom.
class ScaledRows {
 public:
  /// Uses 2 rows of `memory`.
  ScaledRows(const CropPlan& plan, Range columns, float* memory)
      : plan_(plan), values_(3 * columns.size()), low_(memory), high_(memory + values_) {
    for (int x = columns.begin; x < columns.end; ++x) taps_.push_back(plan.bilinear(x, plan.width));
  }

  void row(int y, float* out) {
    const CropPlan::Tap tap = plan_.bilinear(y, plan_.height);
    if (tap.low == high_row_) std::swap(low_, high_), std::swap(low_row_, high_row_);
    if (tap.low != low_row_) resize(low_row_ = tap.low, low_);
    if (tap.high != high_row_) resize(high_row_ = tap.high, high_);
    for (int i = 0; i < values_; ++i) out[i] = mix(low_[i], high_[i], tap.share);
  }

 private:
  void resize(int row, float* out) const {
    const LabelledPixel* from = plan_.pixels + int64_t{row} * plan_.width;
    for (const CropPlan::Tap& tap : taps_) {
      for (int c = 0; c < 3; ++c) out[c] = mix(from[tap.low].rgb[c], from[tap.high].rgb[c], tap.share);
      out += 3;
    }
  }

  const CropPlan& plan_;
  int values_;
  std::vector<CropPlan::Tap> taps_;  // of each column
  float *low_, *high_;               // the sample's rows that the last one lay between, resized sideways
  int low_row_ = -1, high_row_ = -1;
};

/// One crop in the making.
class Crop {
 public:
  Crop(const AugmentCrops& args, int64_t index)
      : plan_(args.plans[index]),
        height_(args.height),
        width_(args.width),
        image_(static_cast<float*>(args.image) + index * args.height * args.width * 3),
        label_(args.label + index * args.height * args.width),
        shown_(shown(plan_, height_, width_)),
        turned_(blurred_from(plan_, shown_)),
        scaled_(rotated_from(plan_, turned_)) {}

  /// Floats that make() needs.
  int64_t scratch() const {
    const int64_t kept = plan_.rotated ? scaled_.values() : 0;
    return 2 * scaled_.row_values() + kept + turned_.row_values() + padded_values() +
           kBlurRows * shown_values();
  }

  void make(float* memory) {
    std::fill_n(image_, int64_t{3} * height_ * width_, 0.0f);
    std::fill_n(label_, int64_t{1} * height_ * width_, kUnlabelled);
    if (shown_.empty()) return;
    const auto take = [&](int64_t values) { return std::exchange(memory, memory + values); };
    ScaledRows scaled(plan_, scaled_.columns, take(2 * scaled_.row_values()));
    if (plan_.rotated) {
      kept_ = take(scaled_.values());
      for (int y = scaled_.rows.begin; y < scaled_.rows.end; ++y) scaled.row(y, kept_row(y));
    }
    row_ = take(turned_.row_values());
    padded_ = take(padded_values());
    ring_ = take(kBlurRows * shown_values());
    for (int y = shown_.rows.begin; y < shown_.rows.end; ++y) {
      write(y, plan_.blurred ? blurred_row(y, scaled) : turned_row(y, scaled));
      write_labels(y);
    }
  }

 private:
  static constexpr int kBlurRows = 2 * kBlurReach + 1;

  int shown_values() const { return shown_.row_values(); }
  int padded_values() const { return shown_values() + 3 * 2 * kBlurReach; }
  float* kept_row(int y) const { return kept_ + int64_t{y - scaled_.rows.begin} * scaled_.row_values(); }
  float* ring_row(int y) const { return ring_ + int64_t{y % kBlurRows} * shown_values(); }

  /// A row of the scaled and rotated image, the columns of turned_.
  const float* turned_row(int y, ScaledRows& scaled) {
    if (!plan_.rotated) {
      scaled.row(y, row_);
      return row_;
    }
    float* out = row_;
    for (int x = turned_.columns.begin; x < turned_.columns.end; ++x, out += 3) {
      const auto at = plan_.before_rotation(x, y, 5);
      const int left = at.x >> 5, top = at.y >> 5;
      const float right_share = static_cast<float>(at.x & 31) / 32.0f,
                  low_share = static_cast<float>(at.y & 31) / 32.0f;
      const float *a = pixel(left, top), *b = pixel(left + 1, top);
      const float *c = pixel(left, top + 1), *d = pixel(left + 1, top + 1);
      for (int i = 0; i < 3; ++i)
        out[i] = mix(mix(a[i], b[i], right_share), mix(c[i], d[i], right_share), low_share);
    }
    return row_;
  }
  const float* pixel(int x, int y) const {
    static constexpr float kMean[] = {pixel_mean(0), pixel_mean(1), pixel_mean(2)};
    if (!plan_.contains(x, y)) return kMean;
    return kept_row(y) + 3 * (x - scaled_.columns.begin);
  }

  /// A row of the blurred image, the columns of shown_.
  const float* blurred_row(int y, ScaledRows& scaled) {
    const int last = std::min(y + kBlurReach, plan_.scaled_height - 1);
    for (next_ = std::max(next_, turned_.rows.begin); next_ <= last; ++next_)
      blur_sideways(turned_row(next_, scaled), ring_row(next_));
    const auto near = [&](int offset) { return ring_row(reflected(y + offset, plan_.scaled_height)); };
    const float *a = near(-2), *b = near(-1), *c = near(0), *d = near(1), *e = near(2);
    float* out = padded_;
    for (int i = 0; i < shown_values(); ++i) out[i] = blurred(a[i], b[i], c[i], d[i], e[i]);
    return out;
  }
  void blur_sideways(const float* row, float* out) {
    const Range columns = shown_.columns.widened(kBlurReach);
    const auto copy = [&](int x) {
      const int from = reflected(x, plan_.scaled_width) - turned_.columns.begin;
      std::copy_n(row + 3 * from, 3, padded_ + 3 * (x - columns.begin));
    };
    const Range inside = turned_.columns;
    for (int x = columns.begin; x < inside.begin; ++x) copy(x);
    std::copy_n(row, 3 * inside.size(), padded_ + 3 * (inside.begin - columns.begin));
    for (int x = inside.end; x < columns.end; ++x) copy(x);
    const float* p = padded_;
    for (int i = 0; i < shown_values(); ++i) out[i] = blurred(p[i], p[i + 3], p[i + 6], p[i + 9], p[i + 12]);
  }

  /// Where a row of the scaled image goes in the crop, its first column shown, and the step to the next.
  struct Target {
    int64_t first;
    int step;
  };
  Target target_of(int y) const {
    const int first = plan_.flipped ? plan_.scaled_width - 1 - shown_.columns.begin : shown_.columns.begin;
    return {int64_t{y - plan_.top} * width_ + first - plan_.left, plan_.flipped ? -1 : 1};
  }
  void write(int y, const float* row) {
    const auto [first, step] = target_of(y);
    float* out = image_ + 3 * first;
    for (int x = 0; x < shown_.columns.size(); ++x, row += 3, out += 3 * step)
      for (int c = 0; c < 3; ++c) out[c] = normalised(row[c], c);
  }
  void write_labels(int y) {
    const auto [first, step] = target_of(y);
    uint8_t* out = label_ + first;
    for (int x = shown_.columns.begin; x < shown_.columns.end; ++x, out += step) *out = plan_.label_at(x, y);
  }

  const CropPlan& plan_;
  int height_, width_;
  float* image_;
  uint8_t* label_;
  // Rectangles of the scaled image: shown by the crop, read by the blur, read by the rotation.
  Region shown_, turned_, scaled_;
  float *kept_ = nullptr, *row_ = nullptr, *padded_ = nullptr, *ring_ = nullptr;
  int next_ = 0;  // row to be blurred sideways
};

}  // namespace

void run(const AugmentCrops& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  int64_t most = 0;
  for (int64_t i = 0; i < args.images; ++i) most = std::max(most, Crop(args, i).scratch());
  float* scratch = queue.scratch(most * queue.threads());
  parallel_for(queue, args.images,
               [&](int64_t i) { Crop(args, i).make(scratch + omp_get_thread_num() * most); });
}

}  // namespace scrawl::cpu
