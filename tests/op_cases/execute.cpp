#include "tests/op_cases/execute.h"

#include <limits>

namespace scrawl::op_table {
namespace {

template <typename T>
Tensor upload_as(Device& device, const Shape& shape, DType dtype, const Values& values) {
  const std::vector<T> host(values.begin(), values.end());
  Tensor tensor(device, shape, dtype);
  device.upload(tensor.raw(), host.data(), tensor.bytes());
  return tensor;
}

Tensor upload(Device& device, const Shape& shape, DType dtype, const Values& values) {
  switch (dtype) {
    case DType::u8:
      return upload_as<uint8_t>(device, shape, dtype, values);
    case DType::i32:
      return upload_as<int32_t>(device, shape, dtype, values);
    case DType::i64:
      return upload_as<int64_t>(device, shape, dtype, values);
    default:
      return upload_as<float>(device, shape, dtype, values);
  }
}

template <typename T>
Values download_as(const Tensor& tensor) {
  const std::vector<T> host = tensor.to_host<T>();
  return {host.begin(), host.end()};
}

Values download(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::u8:
      return download_as<uint8_t>(tensor);
    case DType::i32:
      return download_as<int32_t>(tensor);
    case DType::i64:
      return download_as<int64_t>(tensor);
    default:
      return download_as<float>(tensor);
  }
}

std::shared_ptr<Gradient> slot_for(Device& device, const Shape& shape, const Pass& pass, size_t input) {
  auto slot = std::make_shared<Gradient>();
  if (pass.slots == Slots::stale)
    slot->value =
        upload(device, shape, DType::f32, Values(shape.elements(), std::numeric_limits<double>::quiet_NaN()));
  if (pass.slots == Slots::existing) {
    slot->value = upload(device, shape, DType::f32, pass.existing[input]);
    slot->written = true;
  }
  return slot;
}

/// Σ y · cotangent as an operation whose backward hands the cotangent to y's gradient.
Tensor dot(Tape& tape, const Tensor& y, const Tensor& cotangent) {
  Tensor loss = Tensor::zeros(tape.device(), {1});
  tape.record(loss, {&y}, [&tape, slot = y.gradient(), cotangent](const Tensor&) {
    pass_gradient(tape.device(), slot, cotangent);
  });
  return loss;
}

void forward_and_backward(const OpCase& op, const Pass& pass, Device& device, Outcome& outcome) {
  Tensor state(device, {sizeof(StepState)}, DType::u8);
  device.upload(state.raw(), &kStepState, sizeof(StepState));
  Tape tape(device, op.mode, static_cast<const StepState*>(state.raw()));

  std::vector<Tensor> inputs;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    inputs.push_back(upload(device, op.inputs[i].shape, op.inputs[i].dtype, pass.inputs[i]));
    if (pass.differentiated[i]) inputs[i].set_gradient(slot_for(device, op.inputs[i].shape, pass, i));
  }
  const std::vector<Tensor> outputs = op.run(tape, inputs);
  for (const Tensor& output : outputs) outcome.outputs.push_back(download(output));

  Tensor cotangent;
  if (!pass.cotangent.empty()) {
    cotangent = upload(device, outputs[0].shape(), DType::f32, pass.cotangent);
    tape.backward(dot(tape, outputs[0], cotangent));
    if (download(cotangent) != pass.cotangent) outcome.damage += "the output's gradient was changed; ";
  }
  outcome.gradients.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& slot = inputs[i].gradient();
    if (slot && slot->written) outcome.gradients[i] = download(slot->value);
    if (op.inputs[i].role != Input::Role::state && download(inputs[i]) != pass.inputs[i])
      outcome.damage += op.inputs[i].name + " was changed; ";
  }
  outcome.damage += device.memory().damage();
}

}  // namespace

Outcome execute(const OpCase& op, const Pass& pass) {
  Outcome outcome;
  Device::Options options = pass.options;
  options.guard_memory = true;
  Device device(options);
  forward_and_backward(op, pass, device, outcome);
  if (outcome.damage.empty()) outcome.damage = device.memory().damage();  // of blocks released since
  if (device.memory().statistics().in_use != 0) outcome.damage += "memory is still in use; ";
  return outcome;
}

}  // namespace scrawl::op_table
