#include "data/annotations/labelme.h"

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/error.h"

namespace scrawl {
namespace {

using Json = nlohmann::json;

/// Takes in a file value by value, so that nothing is kept but what is needed.  Returning true goes on.
class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  Annotation take() {
    if (!has_shapes_) throw InputError("{}: expected a LabelMe annotation, an object with \"shapes\"", name_);
    if (image_.empty()) throw InputError("{}: expected the name of the image as \"imagePath\"", name_);
    image_.erase(0, image_.find_last_of("/\\") + 1);  // it may come from another machine
    annotation_.id = id_of_image(image_, name_);
    return std::move(annotation_);
  }

  bool start_object(size_t) {
    open();
    if (depth() == kInShape && in_shapes()) {
      shape_ = {};
      type_ = "polygon";  // old files know no other
    }
    return true;
  }
  bool end_object() {
    if (depth() == kInShape && in_shapes()) finish_shape();
    keys_.pop_back();
    return true;
  }
  bool start_array(size_t) {
    open();
    if (depth() == kInShapes && keys_.front() == "shapes") has_shapes_ = true;
    if (depth() == kInPoint && in_points()) coordinates_ = 0;
    return true;
  }
  bool end_array() {
    if (depth() == kInPoint && in_points() && coordinates_ != 2)
      throw InputError("{}: a point has {} numbers, expected 2", where(), coordinates_);
    keys_.pop_back();
    return true;
  }
  bool key(std::string& key) {
    keys_.back() = key.substr(0, kLongestKey);
    return true;
  }

  bool string(std::string& value) {
    if (depth() == kInFile && keys_.front() == "imagePath") image_ = value;
    if (depth() == kInShape && in_shapes()) {
      if (keys_.back() == "label") shape_.name = value;
      if (keys_.back() == "shape_type") type_ = value;
    }
    return true;
  }
  bool number_integer(Json::number_integer_t value) { return number(static_cast<double>(value)); }
  bool number_unsigned(Json::number_unsigned_t value) { return number(static_cast<double>(value)); }
  bool number_float(Json::number_float_t value, const std::string&) { return number(value); }
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool binary(Json::binary_t&) { return true; }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    throw InputError("{}: not valid JSON at byte {}", name_, position);
  }

 private:
  // How many brackets are open: {"shapes": [{"points": [[x, y], …], …}, …], …}
  static constexpr size_t kInFile = 1, kInShapes = 2, kInShape = 3, kInPoint = 5, kDeepest = 64,
                          kLongestKey = 32;

  size_t depth() const { return keys_.size(); }
  bool in_shapes() const { return keys_.front() == "shapes"; }
  bool in_points() const { return in_shapes() && keys_[kInShape - 1] == "points"; }
  std::string where() const { return fmt::format("{}: shape {}", name_, shapes_ + 1); }

  void open() {
    if (depth() == kDeepest) throw InputError("{}: nested deeper than a LabelMe file is; refused", name_);
    keys_.emplace_back();
  }

  bool number(double value) {
    if (depth() == kInFile && keys_.front() == "imageHeight") annotation_.height = side(value);
    if (depth() == kInFile && keys_.front() == "imageWidth") annotation_.width = side(value);
    if (depth() == kInPoint && in_points()) {
      // Half a pixel: LabelMe counts from the image's corner.
      const float at = within_reach({static_cast<float>(value), 0.0f}).x - 0.5f;
      if (++coordinates_ == 1) shape_.points.push_back({at, 0.0f});
      if (coordinates_ == 2) shape_.points.back().y = at;
    }
    return true;
  }

  int side(double value) const {
    if (!(value >= 1 && value <= INT32_MAX)) throw InputError("{}: {} is no size of an image", name_, value);
    return static_cast<int>(value);
  }

  void expect(size_t count) const {
    if (shape_.points.size() != count)
      throw InputError("{}: a {} has {} points, expected {}", where(), type_, shape_.points.size(), count);
  }

  void finish_shape() {
    if (type_ == "linestrip" || type_ == "line") {
      shape_.kind = DrawnShape::Kind::stroke;
    } else if (type_ == "point" || type_ == "points") {
      shape_.kind = DrawnShape::Kind::points;
    } else if (type_ == "polygon" || type_ == "rectangle" || type_ == "circle") {
      shape_.kind = DrawnShape::Kind::area;
    } else {
      ++annotation_.skipped[type_.substr(0, kLongestKey)];
      ++shapes_;
      return;
    }
    if (shape_.name.empty()) throw InputError("{}: expected the name of its class as \"label\"", where());
    if (shape_.points.empty()) throw InputError("{}: expected \"points\"", where());
    if (type_ == "circle") complete_circle();
    if (type_ == "rectangle" && shape_.points.size() != 4) outline_rectangle();
    annotation_.shapes.push_back(std::move(shape_));
    ++shapes_;
  }

  void complete_circle() {
    expect(2);  // the centre, and a point on the circle
    const Point centre = shape_.points[0], radius = shape_.points[1] - centre;
    shape_.kind = DrawnShape::Kind::ellipse;
    shape_.points.push_back(centre + Point{-radius.y, radius.x});
  }
  void outline_rectangle() {
    expect(2);  // opposite corners
    const Point a = shape_.points[0], b = shape_.points[1];
    shape_.points = {a, {b.x, a.y}, b, {a.x, b.y}};
  }

  std::string name_, image_, type_;
  Annotation annotation_;
  DrawnShape shape_;
  int shapes_ = 0, coordinates_ = 0;  // shapes finished; coordinates of the point
  bool has_shapes_ = false;
  std::vector<std::string> keys_;  // of every open object its key, of every open array ""
};

}  // namespace

Annotation parse_labelme(std::string_view json, const std::string& name) {
  Reader reader(name);
  Json::sax_parse(json, &reader);
  return reader.take();
}

}  // namespace scrawl
