#pragma once
#include <memory>
#include <vector>

#include "engine/device.h"
#include "engine/shape.h"
#include "kernels/dtype.h"

namespace scrawl {

struct Gradient;
class Recomputation;

/// A contiguous array on a device: a cheap handle to shared memory.  Views only reshape; nothing is strided.
/// A tensor that takes part in differentiation carries a gradient slot, shared by all its views, and so is
/// the way to compute it again, if there is one.
class Tensor {
 public:
  Tensor() = default;  // undefined
  /// New memory, contents undefined.
  Tensor(Device& device, const Shape& shape, DType dtype = DType::f32);
  /// New memory with a copy of host values; their number must fit the shape.
  static Tensor from(Device& device, const Shape& shape, const std::vector<float>& values);
  static Tensor from(Device& device, const Shape& shape, const std::vector<uint8_t>& values);
  static Tensor from(Device& device, const Shape& shape, const std::vector<int32_t>& values);
  static Tensor zeros(Device& device, const Shape& shape, DType dtype = DType::f32);
  /// One whose values are stored nowhere, since a kernel goes on with them at once: it is undefined, but has
  /// a shape, a type and, once recorded, a gradient.
  static Tensor passing(Device& device, const Shape& shape, DType dtype);

  bool defined() const { return data_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int index) const { return shape_[index]; }
  int64_t elements() const { return shape_.elements(); }
  int64_t bytes() const { return elements() * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device& device() const { return *device_; }

  void* raw() const { return data_; }
  /// The values, in device memory; the element type must be the stored one.
  template <typename T>
  T* data() const;

  /// The same memory, gradient and recomputation under another shape with as many elements.
  Tensor reshape(const Shape& shape) const;
  /// `shape.elements()` elements from `offset` on, without gradient slot and recomputation.
  Tensor slice(int64_t offset, const Shape& shape) const;

  /// A copy on the host.
  template <typename T = float>
  std::vector<T> to_host() const;

  /// Where gradients of this tensor go; null for constants.
  const std::shared_ptr<Gradient>& gradient() const { return gradient_; }
  void set_gradient(std::shared_ptr<Gradient> gradient) { gradient_ = std::move(gradient); }
  /// How the backward pass comes by values that nobody has kept; null where it cannot.
  const std::shared_ptr<Recomputation>& recomputation() const { return recomputation_; }
  void set_recomputation(std::shared_ptr<Recomputation> how) { recomputation_ = std::move(how); }
  /// True when this handle is the only one to its memory.
  bool unique() const { return buffer_.use_count() == 1; }

 private:
  friend class Kept;
  Device* device_ = nullptr;
  std::shared_ptr<Buffer> buffer_;
  std::byte* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::f32;
  std::shared_ptr<Gradient> gradient_;
  std::shared_ptr<Recomputation> recomputation_;
};

}  // namespace scrawl
