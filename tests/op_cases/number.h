#pragma once
// Numbers that references of operations are written in: doubles that remember how they came about.  So one
// plain formula gives an operation's values and gradients in double precision, and also those of a naive bf16
// computation, which writes its intermediate results to memory.
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/dtype.h"

namespace scrawl::op_table {

class Number;
using Values = std::vector<double>;
using Numbers = std::vector<Number>;

class Number {
 public:
  Number(double value = 0.0) : value_(value) {}
  /// A function's value, and its derivatives with respect to the numbers that it was computed from.
  Number(double value, const Number& a, double da, const Number& b = {}, double db = 0.0) : value_(value) {
    if (a.place_ >= 0 || b.place_ >= 0) remember(a, da, b, db);
  }

  double value() const { return value_; }
  Number& operator+=(const Number& other);
  Number& operator-=(const Number& other);
  Number& operator*=(const Number& other);
  Number& operator/=(const Number& other);

 private:
  friend class Trace;
  friend Number stored(const Number&);
  void remember(const Number& a, double da, const Number& b, double db);

  double value_;
  int32_t place_ = -1;  // in the trace; −1 for constants
};

/// x as it comes back from memory, where an implementation that is not fused leaves it meanwhile: under bf16
/// it is rounded, and so is its gradient.
Number stored(const Number& x);

/// What the numbers of this thread remember, while it lives.  Without one they compute values alone.
class Trace {
 public:
  /// Under f32 nothing is rounded: that is double precision.
  explicit Trace(DType storage);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  Numbers variables(const Values& values);
  /// Derivatives of Σ cotangent · y with respect to each of these variables.
  std::vector<Values> gradients(const Numbers& y, const Values& cotangent,
                                const std::vector<Numbers>& variables) const;

 private:
  friend class Number;
  friend Number stored(const Number&);
  struct Node {
    int32_t a, b;  // places; −1 for none
    double da, db;
    bool rounds;  // the gradient, too
  };
  int32_t add(const Node& node);

  const DType storage_;
  std::vector<Node> nodes_;
};

/// The nearest value that a storage type has.
double rounded(double value, DType dtype);
Values rounded(Values values, DType dtype);

inline Number operator+(const Number& a, const Number& b) {
  return {a.value() + b.value(), a, 1.0, b, 1.0};
}
inline Number operator-(const Number& a, const Number& b) {
  return {a.value() - b.value(), a, 1.0, b, -1.0};
}
inline Number operator*(const Number& a, const Number& b) {
  return {a.value() * b.value(), a, b.value(), b, a.value()};
}
inline Number operator/(const Number& a, const Number& b) {
  const double y = a.value() / b.value();
  return {y, a, 1.0 / b.value(), b, -y / b.value()};
}
inline bool operator<(const Number& a, const Number& b) {
  return a.value() < b.value();
}
inline bool operator>(const Number& a, const Number& b) {
  return b < a;
}

inline Number sqrt(const Number& x) {
  const double y = std::sqrt(x.value());
  return {y, x, 0.5 / y};
}
inline Number exp(const Number& x) {
  const double y = std::exp(x.value());
  return {y, x, y};
}
inline Number log(const Number& x) {
  return {std::log(x.value()), x, 1.0 / x.value()};
}
inline Number erf(const Number& x) {
  constexpr double kSlope = 1.1283791670955126;  // 2/√π
  return {std::erf(x.value()), x, kSlope * std::exp(-x.value() * x.value())};
}

inline Number& Number::operator+=(const Number& other) {
  return *this = *this + other;
}
inline Number& Number::operator-=(const Number& other) {
  return *this = *this - other;
}
inline Number& Number::operator*=(const Number& other) {
  return *this = *this * other;
}
inline Number& Number::operator/=(const Number& other) {
  return *this = *this / other;
}

}  // namespace scrawl::op_table
