#include <algorithm>

#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

std::vector<OpCase> all_op_cases(DType storage) {
  const auto stored = [](const Input& input) { return !input.dtype; };
  std::vector<OpCase> all;
  for (auto cases : {linear_cases,          layer_norm_cases,   convolution_cases,
                     depthwise_gelu_cases,  attention_cases,    residual_norm_cases,
                     upsample_cases,        decoder_fuse_cases, decoder_weights_cases,
                     batch_norm_relu_cases, relu_cases,         prototype_attention_cases,
                     consistency_cases,     weighted_sum_cases, partial_cross_entropy_cases,
                     prototypes_cases,      bank_cases,         segmentation_cases,
                     adamw_cases,           matmul_cases,       cast_cases,
                     norm_pair_cases})
    for (OpCase& op : cases())
      if (storage == DType::f32 || std::any_of(op.inputs.begin(), op.inputs.end(), stored))
        all.push_back(std::move(op));
  return all;
}

}  // namespace scrawl::op_table
