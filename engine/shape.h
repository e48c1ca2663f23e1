#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "engine/error.h"

namespace scrawl {

/// Up to four dimensions, outermost first: maps are N,H,W,C, tokens N,HW,C.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    require(dims.size() <= kMaxRank, "a shape has at most {} dimensions, got {}", kMaxRank, dims.size());
    for (int64_t dim : dims) dims_[rank_++] = dim;
  }

  int rank() const { return rank_; }
  /// Negative indices count from the end.
  int64_t operator[](int index) const { return dims_[index < 0 ? rank_ + index : index]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t dim : *this) n *= dim;
    return n;
  }
  /// The product of all dimensions but the last.
  int64_t rows() const { return (*this)[-1] == 0 ? 0 : elements() / (*this)[-1]; }
  /// The same shape with another last dimension.
  Shape with_last(int64_t dim) const {
    Shape shape = *this;
    shape.dims_[rank_ - 1] = dim;
    return shape;
  }
  std::string text() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace scrawl
