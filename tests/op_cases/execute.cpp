#include "tests/op_cases/execute.h"

#include <limits>
#include <map>
#include <tuple>

#include "kernels/bf16.h"

namespace scrawl::op_table {
namespace {

/// Calls body(T{}) with the C++ type of what is stored.
template <typename Body>
auto with_type(DType dtype, Body body) {
  switch (dtype) {
    case DType::bf16:
      return body(bf16{});
    case DType::u8:
      return body(uint8_t{});
    case DType::i32:
      return body(int32_t{});
    case DType::i64:
      return body(int64_t{});
    default:
      return body(float{});
  }
}

Tensor upload(Device& device, const Shape& shape, const Stored& stored) {
  return with_type(stored.dtype, [&]<typename T>(T) {
    std::vector<T> host;
    for (double value : stored.values)
      if constexpr (std::is_same_v<T, bf16>)
        host.push_back(to_bf16(static_cast<float>(value)));
      else
        host.push_back(static_cast<T>(value));
    Tensor tensor(device, shape, stored.dtype);
    device.upload(tensor.raw(), host.data(), tensor.bytes());
    return tensor;
  });
}

Stored download(const Tensor& tensor) {
  return with_type(tensor.dtype(), [&]<typename T>(T) {
    std::vector<T> host(tensor.elements());
    tensor.device().download(host.data(), tensor.raw(), tensor.bytes());
    Stored stored{tensor.dtype(), {}};
    for (T value : host)
      if constexpr (std::is_same_v<T, bf16>)
        stored.values.push_back(to_float(value));
      else
        stored.values.push_back(static_cast<double>(value));
    return stored;
  });
}

std::shared_ptr<Gradient> slot_for(Device& device, const Shape& shape, const Pass& pass, size_t input) {
  auto slot = std::make_shared<Gradient>();
  if (pass.slots == Slots::stale)
    slot->value = upload(
        device, shape,
        {pass.gradients[input].dtype, Values(shape.elements(), std::numeric_limits<double>::quiet_NaN())});
  if (pass.slots == Slots::existing) {
    slot->value = upload(device, shape, pass.gradients[input]);
    slot->written = true;
  }
  return slot;
}

/// Σ y · cotangent as a loss whose backward hands the cotangent to y's gradient.
Tensor dot(Tape& tape, const Tensor& y, const Tensor& cotangent) {
  Tensor loss = Tensor::zeros(tape.device(), {1});
  tape.record_loss(loss, {&y}, [&tape, slot = y.gradient(), cotangent](float) {
    pass_gradient(tape.device(), slot, cotangent);
  });
  return loss;
}

/// From Σ output · cotangent; says what went wrong.
std::string go_back(Tape& tape, const Tensor& output, const Stored& cotangent) {
  if (output.gradient() && output.gradient()->of_loss) {
    tape.backward(output, static_cast<float>(cotangent.values[0]));
    return "";
  }
  const Tensor dy = upload(tape.device(), output.shape(), cotangent);
  tape.backward(dot(tape, output, dy));
  return download(dy).values == cotangent.values ? "" : "the output's gradient was changed; ";
}

void forward_and_backward(const OpCase& op, const Pass& pass, Device& device, Outcome& outcome) {
  Tensor state(device, {sizeof(StepState)}, DType::u8);
  device.upload(state.raw(), &kStepState, sizeof(StepState));
  Tape tape(device, op.mode, static_cast<const StepState*>(state.raw()));

  std::vector<Tensor> inputs;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const DType dtype = op.inputs[i].dtype.value_or(pass.storage);
    inputs.push_back(upload(device, op.inputs[i].shape, {dtype, pass.inputs[i]}));
    if (pass.differentiated[i]) inputs[i].set_gradient(slot_for(device, op.inputs[i].shape, pass, i));
  }
  const std::vector<Tensor> outputs = op.run(tape, inputs);
  for (const Tensor& output : outputs) outcome.outputs.push_back(download(output));

  if (!pass.cotangent.empty())
    outcome.damage += go_back(tape, outputs[0], {outputs[0].dtype(), pass.cotangent});
  outcome.gradients.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& slot = inputs[i].gradient();
    if (slot && slot->written) outcome.gradients[i] = download(slot->value);
    if (op.inputs[i].role != Input::Role::state && download(inputs[i]).values != pass.inputs[i])
      outcome.damage += op.inputs[i].name + " was changed; ";
  }
  outcome.damage += device.memory().damage();
}

/// A device for one pass.  A GPU takes longer to open than most passes do, so that one serves them until its
/// memory is damaged; the last is never closed, since at the program's end the driver may be gone already.
std::shared_ptr<Device> open(Device::Options options) {
  options.guard_memory = true;
  if (options.kind != DeviceKind::cuda) return std::make_shared<Device>(options);
  static auto& gpus = *new std::map<std::tuple<bool, bool, bool>, std::shared_ptr<Device>>;
  std::shared_ptr<Device>& gpu = gpus[{options.portable, options.cudnn, options.cublas_only}];
  if (!gpu || !gpu->memory().damage().empty()) gpu = std::make_shared<Device>(options);
  return gpu;
}

}  // namespace

Outcome execute(const OpCase& op, const Pass& pass, Profiler* profiler) {
  Outcome outcome;
  const std::shared_ptr<Device> device = open(pass.options);
  device->attach(profiler);
  forward_and_backward(op, pass, *device, outcome);
  if (outcome.damage.empty()) outcome.damage = device->memory().damage();  // of blocks released since
  if (device->memory().statistics().in_use != 0) outcome.damage += "memory is still in use; ";
  return outcome;
}

}  // namespace scrawl::op_table
