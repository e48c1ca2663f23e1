#include "engine/parameters.h"

#include <algorithm>
#include <cmath>
#include <ranges>

#include "engine/random.h"
#include "kernels/cast.h"
#include "kernels/elementwise.h"

namespace scrawl {
namespace {

constexpr int64_t kAlign = 64;  // floats: every parameter starts on 256 bytes

std::vector<float> initial_values(const Parameter& parameter, uint64_t seed, uint64_t place) {
  Random random(seed, place);
  const auto [kind, value] = parameter.initial;
  std::vector<float> values(parameter.shape.elements(), value);
  if (kind == Initial::Kind::constant) return values;
  for (float& x : values) {
    if (kind == Initial::Kind::uniform)
      x = random.uniform(-value, value);
    else
      x = value * random.normal();
    while (kind == Initial::Kind::truncated_normal && std::fabs(x) > 2.0f) x = value * random.normal();
  }
  return values;
}

/// dims [a, b, c] in memory, transposed to [a, c, b].
std::vector<float> swap_inner(const std::vector<float>& values, int64_t a, int64_t b, int64_t c) {
  std::vector<float> out(values.size());
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j)
      for (int64_t k = 0; k < c; ++k) out[(i * c + k) * b + j] = values[(i * b + j) * c + k];
  return out;
}

std::vector<int64_t> file_shape_of(const Parameter& parameter) {
  const Shape& s = parameter.shape;
  if (parameter.layout == FileLayout::convolution) return {s[0], s[3], s[1], s[2]};
  if (parameter.layout == FileLayout::depthwise) return {s[2], 1, s[0], s[1]};
  return {s.begin(), s.end()};
}

std::string text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void expect_shape(const Parameter& parameter, const HostTensor& tensor) {
  if (tensor.shape != parameter.file_shape)
    throw InputError("tensor '{}' has shape {}, this model expects {}", parameter.name, text(tensor.shape),
                     text(parameter.file_shape));
}

}  // namespace

Parameter& Parameters::add(Parameter parameter) {
  require(device_ == nullptr, "parameter '{}' was declared after the arenas were made", parameter.name);
  if (parameter.file_shape.empty()) parameter.file_shape = file_shape_of(parameter);
  return parameters_.emplace_back(std::move(parameter));
}

Parameter& Parameters::add_state(std::string name, const Shape& shape, float initial) {
  Parameter parameter{.name = std::move(name), .shape = shape, .initial = Initial::constant(initial)};
  parameter.learnt = false;
  return add(std::move(parameter));
}

void Parameters::allocate(Device& device, const std::vector<GroupSettings>& groups, uint64_t seed,
                          bool differentiate_frozen, DType storage) {
  device_ = &device;
  storage_ = storage;
  std::vector<int64_t> offsets(parameters_.size());
  int64_t end = 0;
  for (int group = 0; group < static_cast<int>(groups.size()); ++group) {
    const int64_t begin = end;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (!parameters_[i].learnt || parameters_[i].group != group) continue;
      offsets[i] = end;
      in_arena_.push_back(&parameters_[i]);
      end += (parameters_[i].shape.elements() + kAlign - 1) / kAlign * kAlign;
    }
    groups_.push_back({begin, end, groups[group].lr, groups[group].weight_decay, 0});
    if (groups[group].lr == 0.0f && !differentiate_frozen) frozen_ |= ActiveGroups{1} << group;
  }
  values_ = Tensor::zeros(device, {end});
  gradients_ = Tensor::zeros(device, {end});
  first_moments_ = Tensor::zeros(device, {end});
  if (storage != DType::f32) rounded_ = Tensor(device, {end}, storage);
  second_moments_ = Tensor::zeros(device, {end});
  device_groups_ = Tensor(device, {static_cast<int64_t>(groups_.size() * sizeof(AdamWGroup))}, DType::u8);
  upload_groups();

  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = parameters_[i];
    if (parameter.learnt) {
      parameter.value = values_.slice(offsets[i], parameter.shape);
      if (parameter.differentiated && !is_active(frozen_, parameter.group)) {
        parameter.value.set_gradient(std::make_shared<Gradient>());
        parameter.value.gradient()->value = gradients_.slice(offsets[i], parameter.shape);
      }
      parameter.matrix = parameter.value;
      if (rounded_.defined()) {
        parameter.matrix = rounded_.slice(offsets[i], parameter.shape);
        parameter.matrix.set_gradient(parameter.value.gradient());
      }
    } else {
      parameter.value = Tensor(device, parameter.shape);
    }
    const std::vector<float> values = initial_values(parameter, seed, i);
    device.upload(parameter.value.raw(), values.data(), parameter.value.bytes());
  }
  round(values_, rounded_);
}

void Parameters::round(const Tensor& values, const Tensor& rounded) {
  if (!rounded.defined()) return;
  device_->run(Cast{.to = storage_, .x = values.raw(), .y = rounded.raw(), .elements = values.elements()});
}

void Parameters::begin_step() {
  for (Parameter& parameter : parameters_)
    if (const auto& gradient = parameter.value.gradient()) gradient->written = gradient->beside = false;
}

void Parameters::update(const Update& update) {
  begin_update(update);
  end_update();
}

void Parameters::begin_update(const Update& update) {
  update_ = update;
  updated_from_ = values_.elements();
  const AdamWCount count{.groups = static_cast<AdamWGroup*>(device_groups_.raw()),
                         .group_count = static_cast<int>(groups_.size()),
                         .active = update.active};
  device_->aside([device = device_, count] { device->run(count); });
}

bool Parameters::is_finished(const Parameter& parameter) const {
  const auto& gradient = parameter.value.gradient();
  return !gradient || !is_active(update_.active, parameter.group) ||
         (gradient->written && gradient->pending == 0);
}

int64_t Parameters::offset_of(const Parameter& parameter) const {
  return parameter.value.data<float>() - values_.data<float>();
}

void Parameters::update_finished() {
  int64_t from = updated_from_;
  for (const Parameter* parameter : in_arena_ | std::views::reverse) {
    if (offset_of(*parameter) >= updated_from_) continue;
    if (!is_finished(*parameter)) break;
    from = offset_of(*parameter);
  }
  if (from < updated_from_) device_->in_background([&] { update_from(from); });
}

void Parameters::end_update() {
  for (const Parameter* parameter : in_arena_) {
    if (offset_of(*parameter) >= updated_from_) break;
    const auto& gradient = parameter->value.gradient();
    if (gradient && is_active(update_.active, parameter->group) && !gradient->written)
      device_->run(SetZero{.y = gradient->value.raw(), .bytes = gradient->value.bytes()});
  }
  device_->join();
  update_from(0);
}

void Parameters::update_from(int64_t begin) {
  device_->run(AdamW{.value = values_.data<float>(),
                     .gradient = gradients_.data<float>(),
                     .first_moment = first_moments_.data<float>(),
                     .second_moment = second_moments_.data<float>(),
                     .rounded = static_cast<bf16*>(rounded_.raw()),
                     .groups = static_cast<const AdamWGroup*>(device_groups_.raw()),
                     .group_count = static_cast<int>(groups_.size()),
                     .active = update_.active & ~frozen_,
                     .state = update_.state,
                     .beta1 = update_.beta1,
                     .beta2 = update_.beta2,
                     .begin = begin,
                     .end = updated_from_});
  updated_from_ = begin;
}

void Parameters::upload_groups() {
  device_->upload(device_groups_.raw(), groups_.data(), device_groups_.bytes());
}

int64_t Parameters::count() const {
  int64_t n = 0;
  for (const Parameter& parameter : parameters_) n += parameter.learnt ? parameter.shape.elements() : 0;
  return n;
}

std::vector<float> Parameters::in_file_layout(const Parameter& parameter,
                                              const std::vector<float>& values) const {
  const Shape& s = parameter.shape;
  switch (parameter.layout) {
    case FileLayout::same:
      return values;
    case FileLayout::convolution:
      return swap_inner(values, s[0], s[1] * s[2], s[3]);
    case FileLayout::depthwise:
      return swap_inner(values, 1, s[0] * s[1], s[2]);
  }
  return values;
}

HostTensor Parameters::to_file(const Parameter& parameter) const {
  return HostTensor::of(parameter.file_shape, in_file_layout(parameter, parameter.value.to_host()));
}

HostTensor Parameters::gradient_to_file(const Parameter& parameter) const {
  if (parameter.learnt && !parameter.differentiated)
    return HostTensor::of(parameter.file_shape, std::vector<float>(parameter.shape.elements()));
  const auto& gradient = parameter.value.gradient();
  require(gradient != nullptr, "parameter '{}' has no gradient", parameter.name);
  return HostTensor::of(parameter.file_shape, in_file_layout(parameter, gradient->value.to_host()));
}

void Parameters::from_file(Parameter& parameter, const HostTensor& tensor) {
  expect_shape(parameter, tensor);
  std::vector<float> values = tensor.floats();
  const Shape& s = parameter.shape;
  if (parameter.layout == FileLayout::convolution) values = swap_inner(values, s[0], s[3], s[1] * s[2]);
  if (parameter.layout == FileLayout::depthwise) values = swap_inner(values, 1, s[2], s[0] * s[1]);
  device_->upload(parameter.value.raw(), values.data(), parameter.value.bytes());
  if (rounded_.defined() && parameter.learnt) round(parameter.value, parameter.matrix);
}

void Parameters::load(const TensorFile& file, const std::string& prefix) {
  for (const Parameter& parameter : parameters_)  // all or nothing
    expect_shape(parameter, file.at(prefix + parameter.name));
  for (Parameter& parameter : parameters_) from_file(parameter, file.at(prefix + parameter.name));
}

void Parameters::save(TensorFile& file, const std::string& prefix) const {
  for (const Parameter& parameter : parameters_) file.tensors[prefix + parameter.name] = to_file(parameter);
}

void Parameters::load_optimizer(const TensorFile& file) {
  const auto read = [&](const char* name, Tensor& arena) {
    const std::vector<float> values = file.at(name).floats();
    if (static_cast<int64_t>(values.size()) != arena.elements())
      throw InputError("'{}' has {} values, this model has {}", name, values.size(), arena.elements());
    device_->upload(arena.raw(), values.data(), arena.bytes());
  };
  read("optimizer.first_moment", first_moments_);
  read("optimizer.second_moment", second_moments_);
  const std::vector<int64_t> steps = file.at("optimizer.steps").integers();
  if (steps.size() != groups_.size())
    throw InputError("'optimizer.steps' has {} groups, expected {}", steps.size(), groups_.size());
  for (size_t i = 0; i < groups_.size(); ++i) groups_[i].steps = steps[i];
  upload_groups();
}

void Parameters::save_optimizer(TensorFile& file) const {
  std::vector<AdamWGroup> groups(groups_.size());
  device_->download(groups.data(), device_groups_.raw(), device_groups_.bytes());
  std::vector<int64_t> steps;
  for (const AdamWGroup& group : groups) steps.push_back(group.steps);
  file.tensors["optimizer.first_moment"] =
      HostTensor::of({first_moments_.elements()}, first_moments_.to_host());
  file.tensors["optimizer.second_moment"] =
      HostTensor::of({second_moments_.elements()}, second_moments_.to_host());
  file.tensors["optimizer.steps"] = HostTensor::of({static_cast<int64_t>(steps.size())}, steps);
}

Parameter& Parameters::find(const std::string& name) {
  for (Parameter& parameter : parameters_)
    if (parameter.name == name) return parameter;
  throw std::invalid_argument(fmt::format("no parameter '{}'", name));
}

}  // namespace scrawl
