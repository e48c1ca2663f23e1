#pragma once
// One pass of a case over a device.
#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

/// Host values of one tensor, and how they lay on the device.
struct Stored {
  DType dtype = DType::f32;
  Values values;
  friend bool operator==(const Stored&, const Stored&) = default;
};

/// What the gradient slots of inputs hold before the pass.
enum class Slots {
  empty,     // nothing yet: memory is allocated when something flows in
  stale,     // memory with NaN that the first kernel must overwrite, as in the arena of parameters
  existing,  // Pass::gradients, which must be added to
};

struct Pass {
  Device::Options options;
  DType storage = DType::f32;
  std::vector<Values> inputs;
  std::vector<bool> differentiated;  // per input
  Values cotangent;                  // of the first output; empty: forward only
  Slots slots = Slots::empty;
  std::vector<Stored> gradients{};  // per input; their types are needed unless slots are empty
};

struct Outcome {
  std::vector<Stored> outputs;
  std::vector<Stored> gradients;  // per input; empty where none arrived
  std::string damage;             // what guard bands and unchanged inputs tell; empty when all is well
};

/// `profiler`, if there is one, sees the kernels.
Outcome execute(const OpCase& op, const Pass& pass, Profiler* profiler = nullptr);

}  // namespace scrawl::op_table
