#pragma once
// The simplest operations, for tests of how gradients flow.
#include "engine/tape.h"
#include "kernels/cast.h"

namespace scrawl {

/// x in memory of its own.
inline Tensor copy_of(Tape& tape, const Tensor& x) {
  Device& device = tape.device();
  Tensor y(device, x.shape());
  device.run(Cast{.x = x.raw(), .y = y.raw(), .elements = x.elements()});
  tape.record(y, {&x}, [&device, dx = x.gradient()](const Tensor& dy) { pass_gradient(device, dx, dy); });
  return y;
}

/// a + b, which lends its gradient to both.
inline Tensor sum_of(Tape& tape, const Tensor& a, const Tensor& b) {
  Device& device = tape.device();
  Tensor y = Tensor::from(device, a.shape(), a.to_host());
  device.run(Cast{.x = b.raw(), .y = y.raw(), .elements = b.elements(), .accumulate = true});
  tape.record(y, {&a, &b}, [&device, da = a.gradient(), db = b.gradient()](const Tensor& dy) {
    pass_gradient(device, da, dy);
    pass_gradient(device, db, dy);
  });
  return y;
}

/// Σ weight · x, which sends `weights` back to x.
inline Tensor dot(Tape& tape, const Tensor& x, const std::vector<float>& weights) {
  Tensor loss = Tensor::zeros(tape.device(), {1});
  const Tensor cotangent = Tensor::from(tape.device(), x.shape(), weights);
  tape.record_loss(loss, {&x}, [&tape, slot = x.gradient(), cotangent](float) {
    pass_gradient(tape.device(), slot, cotangent);
  });
  return loss;
}

/// The number x [1] as a loss.
inline Tensor as_loss(Tape& tape, const Tensor& x) {
  Tensor loss = Tensor::from(tape.device(), {1}, x.to_host());
  tape.record_loss(loss, {&x}, [&device = tape.device(), slot = x.gradient()](float dloss) {
    pass_gradient(device, slot, Tensor::from(device, {1}, std::vector{dloss}));
  });
  return loss;
}

}  // namespace scrawl
