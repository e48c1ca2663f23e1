#pragma once
// The table of operations: every case is data, so that the same table can check any device and storage type,
// and can be timed.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/random.h"
#include "engine/tape.h"
#include "tests/op_cases/number.h"

namespace scrawl::op_table {

using Outputs = std::vector<Numbers>;
using Draw = std::function<Values(const Shape&, Random&)>;

struct Input {
  enum class Role {
    constant,   // must not change
    state,      // moved in place
    data,       // differentiated, alone or together with others
    parameter,  // differentiated, and then so are the other parameters
  };
  std::string name;
  Shape shape;
  Draw draw;
  Role role = Role::data;
  std::optional<DType> dtype{};  // of every table; nothing: the table's storage type
};

struct OpCase {
  std::string name;  // letters, digits and underscores
  std::vector<Input> inputs{};
  /// The operation; gradients are checked of the first output, values of all.
  std::function<std::vector<Tensor>(Tape&, const std::vector<Tensor>&)> run{};
  /// The same from the mathematical definition, plain and slow.  stored() marks what an implementation would
  /// leave in memory if it ran one simple operation after another; inputs and outputs lie there anyway.
  std::function<Outputs(const std::vector<Numbers>&)> reference{};
  Tape::Mode mode = Tape::Mode::train;
  double slack = 1.0;      // widens tolerances where the input is badly conditioned; say why
  double absolute = 1e-9;  // what still counts as zero
};

/// Seed and step that random operations of the table see.
inline constexpr StepState kStepState{.seed = 7, .step = 3, .lr_factor = 0.5f};

std::vector<OpCase> linear_cases();
std::vector<OpCase> layer_norm_cases();
std::vector<OpCase> convolution_cases();
std::vector<OpCase> depthwise_gelu_cases();
std::vector<OpCase> attention_cases();
std::vector<OpCase> residual_norm_cases();
std::vector<OpCase> norm_pair_cases();
std::vector<OpCase> upsample_cases();
std::vector<OpCase> decoder_fuse_cases();
std::vector<OpCase> decoder_weights_cases();
std::vector<OpCase> batch_norm_relu_cases();
std::vector<OpCase> relu_cases();
std::vector<OpCase> prototype_attention_cases();
std::vector<OpCase> partial_cross_entropy_cases();
std::vector<OpCase> consistency_cases();
std::vector<OpCase> weighted_sum_cases();
std::vector<OpCase> prototypes_cases();
std::vector<OpCase> bank_cases();
std::vector<OpCase> segmentation_cases();
std::vector<OpCase> adamw_cases();
std::vector<OpCase> matmul_cases();
std::vector<OpCase> cast_cases();

/// Under bf16 those that have a part in the storage type.
std::vector<OpCase> all_op_cases(DType storage);

}  // namespace scrawl::op_table
