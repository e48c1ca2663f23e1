#pragma once
// One pass of a case over a device.
#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

/// What the gradient slots of inputs hold before the pass.
enum class Slots {
  empty,     // nothing yet: memory is allocated when something flows in
  stale,     // memory with NaN that the first kernel must overwrite, as in the arena of parameters
  existing,  // Pass::existing, which must be added to
};

struct Pass {
  Device::Options options;
  std::vector<Values> inputs;
  std::vector<bool> differentiated;  // per input
  Values cotangent;                  // of the first output; empty: forward only
  Slots slots = Slots::empty;
  std::vector<Values> existing{};  // per input, for Slots::existing
};

struct Outcome {
  std::vector<Values> outputs;
  std::vector<Values> gradients;  // per input; empty where none arrived
  std::string damage;             // what guard bands and unchanged inputs tell; empty when all is well
};

Outcome execute(const OpCase& op, const Pass& pass);

}  // namespace scrawl::op_table
