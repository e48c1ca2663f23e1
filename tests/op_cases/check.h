#pragma once
#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

/// How far fp32 arithmetic may be from double precision: every element within
/// tolerance · slack of the case · max(|wanted|, root mean square of all wanted) + absolute of the case.
/// Results in bf16 may besides have errors twice as large as those of a naive bf16 computation:
///   - the root mean square of a tensor's errors; the rule proper;
///   - every element twice the naive one's largest error and one rounding of bf16 more, since the largest of
///     few errors is chance.
struct Tolerance {
  double forward = 1e-5;
  double backward = 5e-5;
  double again = 1e-5;  // between the same gradient reached in two ways
};

/// What cuDNN is held to: in bf16 it leaves weight gradients in bf16, rounds a convolution before the bias is
/// added, and its batch norm loses digits of inputs with a large mean and takes gradients that were scaled by
/// dropout and rounded.  Where not all gradients are wanted, our own batch norm serves, which rounds none:
/// sums of up to a few hundred terms that partly cancel then differ by several roundings of one.
constexpr Tolerance cudnn_tolerance(DType storage) {
  if (storage == DType::f32) return {.again = 1e-4};
  return {.forward = 0x1p-6, .backward = 0x1p-6, .again = 0x1p-6};
}

/// Checks one case on one kind of device (GoogleTest expectations): values and gradients against the
/// reference in double precision with a random cotangent, the same bits again and for other numbers of
/// threads, accumulation onto existing gradients, subsets of differentiated inputs, inputs and cotangent
/// untouched, and no byte written outside a buffer.
void check(const OpCase& op, const Device::Options& options, DType storage = DType::f32,
           const Tolerance& tolerance = {});

/// Checks gradients of the reference itself against numeric differences.
void check_reference(const OpCase& op);

}  // namespace scrawl::op_table
