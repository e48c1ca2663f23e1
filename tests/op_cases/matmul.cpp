// Kernels below the operations that have more switches than any one operation uses.
#include "kernels/matmul.h"

#include <algorithm>

#include "kernels/column_sum.h"
#include "kernels/matmul_group.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

struct Product {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, bias = false, sum = false, accumulate = false;
  int64_t gap = 0;                    // unused values behind every row of a, b and c
  std::optional<DType> c_dtype = {};  // as Input::dtype
  std::optional<DType> factors_dtype = {};
  bool addend = false, relu = false, gate = false;
};
constexpr size_t kInputs = 7;  // of a product

/// −1, 0 or 1.
Values signs(const Shape& shape, Random& random) {
  Values values = whole_numbers(3)(shape, random);
  for (double& value : values) value -= 1.0;
  return values;
}

Shape stored(int64_t rows, int64_t columns, bool transposed, int64_t gap) {
  return transposed ? Shape{columns, rows + gap} : Shape{rows, columns + gap};
}

/// v: as inputs_of() -> c and a_sum afterwards.
Outputs reference(const Product& p, const std::vector<Numbers>& v) {
  const int64_t lda = (p.transpose_a ? p.m : p.k) + p.gap, ldb = (p.transpose_b ? p.k : p.n) + p.gap;
  const auto a = [&](int64_t i, int64_t l) { return v[0][p.transpose_a ? l * lda + i : i * lda + l]; };
  const auto b = [&](int64_t l, int64_t j) { return v[1][p.transpose_b ? j * ldb + l : l * ldb + j]; };
  Numbers c = v[3], sum = v[4];
  for (int64_t i = 0; i < p.m; ++i) {
    if (p.sum && !p.accumulate) sum[i] = 0.0;
    for (int64_t l = 0; l < p.k && p.sum; ++l) sum[i] += a(i, l);
    for (int64_t j = 0; j < p.n; ++j) {
      const int64_t at = i * (p.n + p.gap) + j;
      Number& value = c[at];
      value = (p.accumulate ? value : 0.0) + (p.bias ? v[2][j] : 0.0);
      for (int64_t l = 0; l < p.k; ++l) value += a(i, l) * b(l, j);
      if (p.addend) value += v[5][at];
      if (p.relu) value = std::max<Number>(value, 0.0);
      if (p.gate && !(v[6][at] > 0.0)) value = 0.0;
    }
  }
  return {c, sum};
}

std::vector<Input> inputs_of(const Product& p) {
  return {{"a", stored(p.m, p.k, p.transpose_a, p.gap), normal(), constant, p.factors_dtype},
          {"b", stored(p.k, p.n, p.transpose_b, p.gap), normal(), constant, p.factors_dtype},
          {"bias", {p.n}, normal(), constant, p.c_dtype},
          {"c", {p.m, p.n + p.gap}, normal(), state, p.c_dtype},
          {"a_sum", {p.m}, normal(), state, DType::f32},
          {"addend", {p.m, p.n + p.gap}, normal(), constant, p.c_dtype},
          {"gate", {p.m, p.n + p.gap}, signs, constant, p.c_dtype}};
}

/// t: as the inputs.
MatMul arguments_of(const Product& p, const Tensor* t) {
  return {.dtype = t[0].dtype(),
          .c_dtype = t[3].dtype(),
          .transpose_a = p.transpose_a,
          .transpose_b = p.transpose_b,
          .m = p.m,
          .n = p.n,
          .k = p.k,
          .a = t[0].raw(),
          .lda = t[0].dim(1),
          .b = t[1].raw(),
          .ldb = t[1].dim(1),
          .c = t[3].raw(),
          .ldc = t[3].dim(1),
          .bias = p.bias ? t[2].raw() : nullptr,
          .addend = p.addend ? t[5].raw() : nullptr,
          .relu = p.relu,
          .gate = p.gate ? t[6].raw() : nullptr,
          .a_sum = p.sum ? t[4].data<float>() : nullptr,
          .accumulate = p.accumulate};
}

OpCase matmul_case(std::string name, const Product& p) {
  return {.name = "matmul_" + name,
          .inputs = inputs_of(p),
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                tape.device().run(arguments_of(p, t.data()));
                return std::vector{t[3], t[4]};
              },
          .reference = [=](const std::vector<Numbers>& v) { return reference(p, v); }};
}

OpCase group_case(std::string name, const std::vector<Product>& products) {
  OpCase op{.name = "matmul_group_" + name,
            .inputs = {},
            .run =
                [=](Tape& tape, const std::vector<Tensor>& t) {
                  MatMulGroup group;
                  std::vector<Tensor> results;
                  for (size_t i = 0; i < products.size(); ++i) {
                    const Tensor* operands = &t[i * kInputs];
                    group.products.push_back(arguments_of(products[i], operands));
                    results.insert(results.end(), {operands[3], operands[4]});
                  }
                  tape.device().run(group);
                  return results;
                },
            .reference =
                [=](const std::vector<Numbers>& v) {
                  Outputs all;
                  for (size_t i = 0; i < products.size(); ++i) {
                    const auto first = v.begin() + static_cast<int64_t>(i * kInputs);
                    const Outputs results = reference(products[i], {first, first + kInputs});
                    all.insert(all.end(), results.begin(), results.end());
                  }
                  return all;
                }};
  for (size_t i = 0; i < products.size(); ++i)
    for (Input& input : inputs_of(products[i])) {
      input.name += std::to_string(i);
      op.inputs.push_back(input);
    }
  return op;
}

OpCase column_sum_case(std::string name, int64_t rows, int64_t columns, bool accumulate) {
  return {
      .name = "column_sum_" + name,
      .inputs = {{"x", {rows, columns}, normal(), constant}, {"sum", {columns}, normal(), state, DType::f32}},
      .run =
          [=](Tape& tape, const std::vector<Tensor>& t) {
            tape.device().run(ColumnSum{.dtype = t[0].dtype(),
                                        .x = t[0].raw(),
                                        .sum = t[1].data<float>(),
                                        .rows = rows,
                                        .columns = static_cast<int>(columns),
                                        .accumulate = accumulate});
            return std::vector{t[1]};
          },
      .reference =
          [=](const std::vector<Numbers>& v) {
            Numbers sum = accumulate ? v[1] : Numbers(columns);
            for (size_t i = 0; i < v[0].size(); ++i) sum[i % columns] += v[0][i];
            return Outputs{sum};
          }};
}

}  // namespace

std::vector<OpCase> matmul_cases() {
  return {
      matmul_case("1x1x1", {1, 1, 1}),
      matmul_case("33x132x260", {33, 132, 260}),
      matmul_case("1025x3x33", {1025, 3, 33}),
      matmul_case("3x33x1025_deep", {3, 33, 1025}),
      matmul_case("both_transposed", {33, 132, 5, true, true}),
      matmul_case("bias", {33, 21, 132, false, true, true}),
      matmul_case("sum_beside", {33, 21, 1025, true, false, false, true}),
      matmul_case("accumulate", {33, 132, 3, true, false, false, true, true}),
      matmul_case("accumulate_with_bias", {33, 132, 3, false, false, true, false, true}),
      matmul_case("sum_of_rows", {33, 3, 132, false, false, false, true}),
      matmul_case("strided", {33, 13, 7, false, false, true, true, false, 5}),
      matmul_case("strided_transposed", {33, 13, 7, true, true, true, true, true, 5}),
      // As weight gradients and as products of weights are made under bf16.
      matmul_case("bf16_to_f32", {.m = 33, .n = 21, .k = 132, .accumulate = true, .c_dtype = DType::f32}),
      // Few results from many terms: several tiles and parts, a factor with odd rows, rows with gaps.
      matmul_case("weight_gradient",
                  {.m = 72, .n = 40, .k = 2080, .transpose_a = true, .sum = true, .c_dtype = DType::f32}),
      matmul_case("weight_gradient_odd", {.m = 21,
                                          .n = 136,
                                          .k = 2085,
                                          .transpose_a = true,
                                          .sum = true,
                                          .accumulate = true,
                                          .c_dtype = DType::f32}),
      matmul_case("weight_gradient_wide", {.m = 64,
                                           .n = 128,
                                           .k = 2085,
                                           .transpose_a = true,
                                           .sum = true,
                                           .accumulate = true,
                                           .c_dtype = DType::f32}),
      matmul_case("weight_gradient_tall",
                  {.m = 128, .n = 64, .k = 2112, .transpose_a = true, .sum = true, .c_dtype = DType::f32}),
      matmul_case(
          "weight_gradient_gaps",
          {.m = 35, .n = 19, .k = 2049, .transpose_a = true, .sum = true, .gap = 5, .c_dtype = DType::f32}),
      matmul_case("weight_gradient_odd_long",
                  {.m = 5, .n = 776, .k = 2049, .transpose_a = true, .sum = true, .c_dtype = DType::f32}),
      // Rows that are no packs, without the sum.
      matmul_case("weight_gradient_without_sum",
                  {.m = 21, .n = 40, .k = 2048, .transpose_a = true, .c_dtype = DType::f32}),
      // A factor whose rows are neither packs nor dense, in either tile; few parts.
      matmul_case("weight_gradient_values",
                  {.m = 35, .n = 24, .k = 2048, .transpose_a = true, .sum = true, .c_dtype = DType::f32}),
      matmul_case("weight_gradient_values_flat", {.m = 21,
                                                  .n = 20,
                                                  .k = 2085,
                                                  .transpose_a = true,
                                                  .sum = true,
                                                  .accumulate = true,
                                                  .gap = 4,
                                                  .c_dtype = DType::f32}),
      // As a classifier's forward pass and input gradient are.
      matmul_case("few_columns", {.m = 265, .n = 21, .k = 96, .transpose_b = true, .bias = true}),
      matmul_case("few_columns_odd_end", {.m = 17, .n = 3, .k = 32, .transpose_b = true}),
      matmul_case("few_columns_13", {.m = 40, .n = 13, .k = 32, .transpose_b = true, .bias = true}),
      matmul_case("few_columns_32", {.m = 33, .n = 32, .k = 64, .transpose_b = true, .bias = true}),
      matmul_case("few_terms", {.m = 145, .n = 64, .k = 21, .accumulate = true}),
      matmul_case("few_terms_32", {.m = 129, .n = 96, .k = 32}),
      matmul_case("few_terms_long", {.m = 131, .n = 768, .k = 5, .accumulate = true}),
      matmul_case("f32_to_bf16", {.m = 33, .n = 21, .k = 132, .factors_dtype = DType::f32}),
      matmul_case("over_nothing", {.m = 5, .n = 3, .k = 0, .bias = true, .accumulate = true}),
      // What follows a product: sums in one piece and in several, rows with gaps and of odd lengths; shapes
      // that have kernels which leave it to others; none at all.
      matmul_case("relu", {.m = 33, .n = 21, .k = 132, .transpose_b = true, .bias = true, .relu = true}),
      matmul_case("relu_without_bias", {.m = 40, .n = 13, .k = 8, .relu = true}),
      matmul_case("addend", {.m = 33, .n = 21, .k = 13, .addend = true}),
      matmul_case("addend_relu_deep",
                  {.m = 3, .n = 33, .k = 1025, .bias = true, .addend = true, .relu = true}),
      matmul_case("addend_relu_large",
                  {.m = 600, .n = 520, .k = 5, .bias = true, .addend = true, .relu = true}),
      matmul_case("addend_relu_strided",
                  {.m = 33, .n = 13, .k = 7, .bias = true, .gap = 5, .addend = true, .relu = true}),
      matmul_case(
          "addend_relu_few_columns",
          {.m = 33, .n = 21, .k = 96, .transpose_b = true, .bias = true, .addend = true, .relu = true}),
      matmul_case("addend_relu_few_terms", {.m = 33, .n = 64, .k = 21, .addend = true, .relu = true}),
      matmul_case("relu_weight_gradient", {.m = 24,
                                           .n = 40,
                                           .k = 2080,
                                           .transpose_a = true,
                                           .sum = true,
                                           .c_dtype = DType::f32,
                                           .relu = true}),
      matmul_case("addend_relu_over_nothing",
                  {.m = 5, .n = 3, .k = 0, .bias = true, .addend = true, .relu = true}),
      matmul_case("addend_relu_no_columns", {.m = 5, .n = 0, .k = 3, .addend = true, .relu = true}),
      matmul_case("addend_relu_no_rows", {.m = 0, .n = 3, .k = 5, .addend = true, .relu = true}),
      matmul_case("relu_rows_64",
                  {.m = 70, .n = 64, .k = 72, .transpose_b = true, .bias = true, .relu = true}),
      matmul_case("relu_rows_128", {.m = 130, .n = 128, .k = 264, .transpose_b = true, .relu = true}),
      matmul_case(
          "relu_rows_256",
          {.m = 70, .n = 256, .k = 72, .transpose_b = true, .bias = true, .addend = true, .relu = true}),
      matmul_case("relu_rows_192",
                  {.m = 700, .n = 192, .k = 8, .transpose_b = true, .addend = true, .relu = true}),
      matmul_case("gate_rows_192", {.m = 70, .n = 192, .k = 40, .gate = true}),
      matmul_case("gate_rows_64", {.m = 1, .n = 64, .k = 40, .gate = true}),
      matmul_case("gate_rows_128", {.m = 130, .n = 128, .k = 264, .gate = true}),
      matmul_case("gate", {.m = 33, .n = 132, .k = 260, .gate = true}),
      matmul_case("gate_odd", {.m = 35, .n = 13, .k = 40, .gate = true}),
      matmul_case("gate_deep", {.m = 3, .n = 33, .k = 1025, .gate = true}),
      matmul_case("gate_few_terms", {.m = 145, .n = 64, .k = 21, .gate = true}),
      matmul_case("gate_few_terms_32", {.m = 129, .n = 96, .k = 32, .gate = true}),
      matmul_case("gate_few_columns", {.m = 40, .n = 21, .k = 96, .transpose_b = true, .gate = true}),
      matmul_case("gate_over_nothing", {.m = 5, .n = 3, .k = 0, .gate = true}),
      matmul_case("sum_no_columns", {.m = 5, .n = 0, .k = 300, .transpose_a = true, .sum = true}),
      matmul_case("gate_no_columns", {.m = 5, .n = 0, .k = 3, .gate = true}),
      matmul_case("gate_no_rows", {.m = 0, .n = 64, .k = 21, .gate = true}),
      group_case("of_one", {{.m = 8, .n = 8, .k = 1, .transpose_a = true, .c_dtype = DType::f32}}),
      // One tile in several parts; whole tiles; parts of tiles, in both directions; what no group takes.
      group_case(
          "of_weight_gradients",
          {{.m = 64, .n = 40, .k = 2085, .transpose_a = true, .sum = true, .c_dtype = DType::f32},
           {.m = 128, .n = 128, .k = 64, .transpose_a = true, .accumulate = true, .c_dtype = DType::f32},
           {.m = 200,
            .n = 136,
            .k = 97,
            .transpose_a = true,
            .sum = true,
            .accumulate = true,
            .gap = 8,
            .c_dtype = DType::f32},
           {.m = 21, .n = 16, .k = 300, .transpose_a = true, .sum = true, .c_dtype = DType::f32},
           {.m = 64, .n = 40, .k = 97, .transpose_a = true, .c_dtype = DType::f32, .relu = true},
           {.m = 72, .n = 320, .k = 300, .transpose_a = true, .sum = true, .c_dtype = DType::f32}}),
      // More than one launch takes.
      group_case(
          "of_many",
          std::vector<Product>(
              13, {.m = 16, .n = 24, .k = 40, .transpose_a = true, .sum = true, .c_dtype = DType::f32})),
      column_sum_case("1x1", 1, 1, false),
      column_sum_case("1025x33", 1025, 33, false),
      column_sum_case("33x1025", 33, 1025, true),
      column_sum_case("20000x3", 20000, 3, true),
      column_sum_case("600x72_in_packs", 600, 72, true),
      column_sum_case("no_rows", 0, 40, false),
  };
}

}  // namespace scrawl::op_table
