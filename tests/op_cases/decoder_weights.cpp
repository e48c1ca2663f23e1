// The decoder's products between weights, below decoder_fuse: widths beyond a tile, rows that are no whole
// packs, parameters that start anywhere in their arena.
#include "kernels/decoder_weights.h"

#include <algorithm>

#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

constexpr int kLevels = DecoderWeights::kLevels;

struct Sizes {
  int64_t width;
  std::array<int64_t, kLevels> channels;
  int64_t gap = 0;  // unused values ahead of every parameter
  bool accumulate = false;
  std::vector<int> without{};  // parameters whose gradients are not asked for, by their place below
  bool wants(int parameter) const { return std::ranges::find(without, parameter) == without.end(); }
};

/// Inputs 0 to 8: four weights, four biases and the fuse weight.
std::vector<Input> parameters_of(const Sizes& s) {
  std::vector<Input> inputs;
  for (int i = 0; i < kLevels; ++i)
    inputs.push_back(
        {"weight " + std::to_string(i), {s.gap + s.width * s.channels[i]}, normal(), constant, DType::f32});
  for (int i = 0; i < kLevels; ++i)
    inputs.push_back({"bias " + std::to_string(i), {s.gap + s.width}, normal(), constant, DType::f32});
  inputs.push_back({"fuse", {s.gap + s.width * kLevels * s.width}, normal(), constant, DType::f32});
  return inputs;
}

DecoderWeights parameters_of(const Sizes& s, const std::vector<Tensor>& t) {
  DecoderWeights p{.width = static_cast<int>(s.width), .fuse = t[8].data<float>() + s.gap};
  for (int i = 0; i < kLevels; ++i) {
    p.channels[i] = static_cast<int>(s.channels[i]);
    p.weights[i] = t[i].data<float>() + s.gap;
    p.biases[i] = t[kLevels + i].data<float>() + s.gap;
  }
  return p;
}

/// The same numbers, by their place in the matrices.
struct Reference {
  const Sizes& s;
  const std::vector<Numbers>& v;
  Number weight(int level, int64_t d, int64_t c) const { return v[level][s.gap + d * s.channels[level] + c]; }
  Number bias(int level, int64_t d) const { return v[kLevels + level][s.gap + d]; }
  int64_t fuse_at(int level, int64_t o, int64_t d) const {
    return s.gap + (o * kLevels + kLevels - 1 - level) * s.width + d;
  }
  Number fuse(int level, int64_t o, int64_t d) const { return v[8][fuse_at(level, o, d)]; }
};

OpCase premultiply_case(std::string name, const Sizes& s) {
  OpCase op{.name = "decoder_premultiply_" + name, .inputs = parameters_of(s)};
  for (int i = 0; i < kLevels; ++i)
    op.inputs.push_back({"g " + std::to_string(i), {s.width, s.channels[i]}, normal(), state});
  op.inputs.push_back({"bias", {s.width}, normal(), state, DType::f32});
  op.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    DecoderPremultiply args{
        .dtype = t[9].dtype(), .parameters = parameters_of(s, t), .bias = t[13].data<float>()};
    for (int i = 0; i < kLevels; ++i) args.g[i] = t[9 + i].raw();
    tape.device().run(args);
    return std::vector{t[9], t[10], t[11], t[12], t[13]};
  };
  op.reference = [=](const std::vector<Numbers>& v) {
    const Reference in{s, v};
    Outputs outputs(kLevels + 1);
    outputs[kLevels].resize(s.width);
    for (int i = 0; i < kLevels; ++i)
      for (int64_t o = 0; o < s.width; ++o) {
        for (int64_t c = 0; c < s.channels[i]; ++c) {
          Number& sum = outputs[i].emplace_back();
          for (int64_t d = 0; d < s.width; ++d) sum += in.fuse(i, o, d) * in.weight(i, d, c);
        }
        for (int64_t d = 0; d < s.width; ++d) outputs[kLevels][o] += in.fuse(i, o, d) * in.bias(i, d);
      }
    return outputs;
  };
  return op;
}

OpCase backward_case(std::string name, const Sizes& s) {
  OpCase op{.name = "decoder_weights_backward_" + name, .inputs = parameters_of(s)};
  const auto add = [&](std::string input, const Shape& shape, Input::Role role) {
    op.inputs.push_back({std::move(input), shape, normal(), role, DType::f32});
  };
  for (int i = 0; i < kLevels; ++i) add("dg " + std::to_string(i), {s.width, s.channels[i]}, constant);
  add("db", {s.width}, constant);
  for (int i = 0; i < kLevels; ++i)
    add("dweight " + std::to_string(i), {s.gap + s.width * s.channels[i]}, state);
  for (int i = 0; i < kLevels; ++i) add("dbias " + std::to_string(i), {s.gap + s.width}, state);
  add("dfuse", {s.gap + s.width * kLevels * s.width}, state);
  op.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    const auto target = [&](int parameter) {
      if (!s.wants(parameter)) return DecoderWeightsBackward::Target{};
      return DecoderWeightsBackward::Target{t[14 + parameter].data<float>() + s.gap, s.accumulate};
    };
    DecoderWeightsBackward args{.parameters = parameters_of(s, t), .db = t[13].data<float>()};
    for (int i = 0; i < kLevels; ++i) {
      args.dg[i] = t[9 + i].data<float>();
      args.dweights[i] = target(i);
      args.dbiases[i] = target(kLevels + i);
    }
    args.dfuse = target(2 * kLevels);
    tape.device().run(args);
    return std::vector(t.begin() + 14, t.end());
  };
  op.reference = [=](const std::vector<Numbers>& v) {
    const Reference in{s, v};
    Outputs outputs(v.begin() + 14, v.end());
    if (!s.accumulate)
      for (Numbers& output : outputs) std::fill(output.begin() + s.gap, output.end(), Number(0.0));
    for (int i = 0; i < kLevels; ++i)
      for (int64_t o = 0; o < s.width; ++o)
        for (int64_t d = 0; d < s.width; ++d) {
          const Number db = v[13][o];
          Number& dfuse = outputs[2 * kLevels][in.fuse_at(i, o, d)];
          dfuse += db * in.bias(i, d);
          outputs[kLevels + i][s.gap + d] += in.fuse(i, o, d) * db;
          for (int64_t c = 0; c < s.channels[i]; ++c) {
            const Number dg = v[9 + i][o * s.channels[i] + c];
            dfuse += dg * in.weight(i, d, c);
            outputs[i][s.gap + d * s.channels[i] + c] += in.fuse(i, o, d) * dg;
          }
        }
    for (const int parameter : s.without) outputs[parameter] = v[14 + parameter];
    return outputs;
  };
  return op;
}

}  // namespace

std::vector<OpCase> decoder_weights_cases() {
  const Sizes one{1, {1, 1, 1, 1}}, odd{33, {1, 5, 33, 67}}, tiles{132, {4, 36, 68, 100}};
  std::vector<OpCase> cases;
  for (auto make : {premultiply_case, backward_case}) {
    cases.push_back(make("one", one));
    cases.push_back(make("odd", odd));
    cases.push_back(make("tiles", tiles));
    cases.push_back(make("unaligned", {36, {4, 8, 12, 16}, 1}));
  }
  cases.push_back(backward_case("accumulate", {36, {4, 36, 68, 8}, 0, true}));
  cases.push_back(backward_case("accumulate_odd", {33, {1, 5, 33, 67}, 3, true}));
  cases.push_back(backward_case("without_fuse", {36, {4, 8, 12, 16}, 0, false, {8}}));
  cases.push_back(backward_case("without_some", {36, {4, 8, 12, 16}, 0, true, {0, 2, 5, 7}}));
  cases.push_back(backward_case("only_fuse", {36, {4, 8, 12, 16}, 0, false, {0, 1, 2, 3, 4, 5, 6, 7}}));
  cases.push_back(backward_case("only_a_bias", {36, {4, 8, 12, 16}, 0, false, {0, 1, 2, 3, 5, 6, 7, 8}}));
  return cases;
}

}  // namespace scrawl::op_table
