#include "engine/tensor.h"

#include <type_traits>

#include "kernels/elementwise.h"

namespace scrawl {
namespace {

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::u8;
  if constexpr (std::is_same_v<T, int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::i64;
}

template <typename T>
Tensor copy_of(Device& device, const Shape& shape, const std::vector<T>& values) {
  require(shape.elements() == static_cast<int64_t>(values.size()), "{} values for a tensor of shape {}",
          values.size(), shape.text());
  Tensor tensor(device, shape, dtype_of<T>());
  device.upload(tensor.raw(), values.data(), tensor.bytes());
  return tensor;
}

}  // namespace

Tensor::Tensor(Device& device, const Shape& shape, DType dtype)
    : device_(&device),
      buffer_(std::make_shared<Buffer>(device.memory(), shape.elements() * size_of(dtype))),
      data_(buffer_->data()),
      shape_(shape),
      dtype_(dtype) {}

Tensor Tensor::from(Device& device, const Shape& shape, const std::vector<float>& values) {
  return copy_of(device, shape, values);
}
Tensor Tensor::from(Device& device, const Shape& shape, const std::vector<uint8_t>& values) {
  return copy_of(device, shape, values);
}
Tensor Tensor::from(Device& device, const Shape& shape, const std::vector<int32_t>& values) {
  return copy_of(device, shape, values);
}

Tensor Tensor::zeros(Device& device, const Shape& shape, DType dtype) {
  Tensor tensor(device, shape, dtype);
  device.run(SetZero{.y = tensor.raw(), .bytes = tensor.bytes()});
  return tensor;
}

Tensor Tensor::passing(Device& device, const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.device_ = &device;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  return tensor;
}

template <typename T>
T* Tensor::data() const {
  require(dtype_of<std::remove_const_t<T>>() == dtype_, "tensor {} holds {}, not {}", shape_.text(),
          name_of(dtype_), name_of(dtype_of<std::remove_const_t<T>>()));
  return reinterpret_cast<T*>(data_);
}
template float* Tensor::data<float>() const;
template uint8_t* Tensor::data<uint8_t>() const;
template int32_t* Tensor::data<int32_t>() const;
template int64_t* Tensor::data<int64_t>() const;

Tensor Tensor::reshape(const Shape& shape) const {
  require(shape.elements() == elements(), "cannot view {} as {}", shape_.text(), shape.text());
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::slice(int64_t offset, const Shape& shape) const {
  require(offset >= 0 && offset + shape.elements() <= elements(), "slice {} at {} leaves tensor {}",
          shape.text(), offset, shape_.text());
  Tensor view = *this;
  view.data_ += offset * size_of(dtype_);
  view.shape_ = shape;
  view.gradient_ = nullptr;
  view.recomputation_ = nullptr;
  return view;
}

template <typename T>
std::vector<T> Tensor::to_host() const {
  std::vector<T> values(elements());
  device_->download(values.data(), data<T>(), bytes());
  return values;
}
template std::vector<float> Tensor::to_host<float>() const;
template std::vector<uint8_t> Tensor::to_host<uint8_t>() const;
template std::vector<int32_t> Tensor::to_host<int32_t>() const;
template std::vector<int64_t> Tensor::to_host<int64_t>() const;

}  // namespace scrawl
