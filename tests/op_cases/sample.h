#pragma once
#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

/// What a reference gives.
struct Evaluation {
  std::vector<Values> outputs;
  std::vector<Values> gradients;  // per input; empty where it is not differentiated
};

/// Inputs of a case as drawn, and what to expect of them.
struct Sample {
  std::vector<Values> inputs;        // values that their types have
  std::vector<bool> differentiated;  // per input
  Values cotangent;                  // of the first output; empty when nothing is differentiated
  Evaluation exact;                  // in double precision
  Evaluation naive;                  // when what is stored() lies in the storage type meanwhile

  /// The n-th sample of a case.
  Sample(const OpCase& op, DType storage, int n = 0);

 private:
  Evaluation evaluate(const OpCase& op, DType storage) const;
};

/// A stream of random numbers for one purpose of a case.
Random random_of(const OpCase& op, uint64_t purpose);

/// Values of the reference's outputs.
std::vector<Values> reference_outputs(const OpCase& op, const std::vector<Values>& inputs);

}  // namespace scrawl::op_table
