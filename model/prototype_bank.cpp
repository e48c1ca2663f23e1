#include "model/prototype_bank.h"

#include <algorithm>
#include <numeric>

#include "engine/ops.h"

namespace scrawl {

PrototypeBank::PrototypeBank(Device& device, const ModelConfig& config)
    : slots_(config.slots),
      rate_(config.bank_rate),
      values_(Tensor::zeros(device, {config.classes, config.slots, config.width})),
      filled_(Tensor::zeros(device, {config.classes}, DType::i32)),
      host_filled_(config.classes, 0) {}

void PrototypeBank::update(const Tensor& prototypes, const Tensor& present) {
  ops::update_bank(prototypes, present, rate_, values_, filled_);
}

void PrototypeBank::expect(const std::vector<uint8_t>& tags) {
  for (size_t i = 0; i < tags.size(); ++i) {
    int& filled = host_filled_[i % host_filled_.size()];
    if (tags[i]) filled = std::min(filled + 1, slots_);
  }
}

bool PrototypeBank::full() const {
  return std::all_of(host_filled_.begin(), host_filled_.end(), [&](int filled) { return filled == slots_; });
}

double PrototypeBank::fill() const {
  const double used = std::accumulate(host_filled_.begin(), host_filled_.end(), 0.0);
  return used / (static_cast<double>(host_filled_.size()) * slots_);
}

Tensor PrototypeBank::shared() const {
  return values_.reshape({1, values_.dim(0) * values_.dim(1), values_.dim(2)});
}

void PrototypeBank::load(const TensorFile& file) {
  const HostTensor& values = file.at("prototype_bank.values");
  const std::vector<int64_t> filled = file.at("prototype_bank.filled").integers();
  const std::vector<int64_t> expected(values_.shape().begin(), values_.shape().end());
  if (values.shape != expected || filled.size() != host_filled_.size())
    throw InputError("prototype bank has shape [{}], this model expects {}", fmt::join(values.shape, ", "),
                     values_.shape().text());
  for (size_t k = 0; k < filled.size(); ++k) {
    if (filled[k] < 0 || filled[k] > slots_)
      throw InputError("prototype bank: class {} has {} of {} slots filled", k, filled[k], slots_);
    host_filled_[k] = static_cast<int>(filled[k]);
  }
  values_.device().upload(values_.raw(), values.floats().data(), values_.bytes());
  values_.device().upload(filled_.raw(), host_filled_.data(), filled_.bytes());
}

void PrototypeBank::save(TensorFile& file) const {
  file.tensors["prototype_bank.values"] =
      HostTensor::of({values_.dim(0), values_.dim(1), values_.dim(2)}, values_.to_host());
  file.tensors["prototype_bank.filled"] =
      HostTensor::of({static_cast<int64_t>(host_filled_.size())},
                     std::vector<int64_t>(host_filled_.begin(), host_filled_.end()));
}

}  // namespace scrawl
