#pragma once
#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

/// How far a device may be from double precision: every element within
/// tolerance · slack of the case · max(|wanted|, root mean square of all wanted) + absolute of the case.
struct Tolerance {
  double forward = 1e-5;
  double backward = 5e-5;
};

/// Checks one case on one kind of device (GoogleTest expectations): values against the reference, gradients
/// against numeric differences of the reference with a random cotangent, the same bits again and for other
/// numbers of threads, accumulation onto existing gradients, subsets of differentiated inputs, inputs and
/// cotangent untouched, and no byte written outside a buffer.
void check(const OpCase& op, const Device::Options& options, const Tolerance& tolerance);

}  // namespace scrawl::op_table
