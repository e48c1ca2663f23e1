#include "kernels/adamw.h"

#include <cmath>

#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

constexpr float kBeta1 = 0.9f, kBeta2 = 0.999f, kEps = 1e-8f;

ActiveGroups started(const std::vector<AdamWGroup>& groups) {
  ActiveGroups active = 0;
  for (size_t i = 0; i < groups.size(); ++i) active |= ActiveGroups{groups[i].steps > 0} << i;
  return active;
}

/// `groups` as they are ahead of the update that their `steps` count.
std::vector<AdamWGroup> before(std::vector<AdamWGroup> groups) {
  for (AdamWGroup& group : groups) group.steps = std::max<int64_t>(0, group.steps - 1);
  return groups;
}

/// v: value, gradient, first and second moment, the value's copy -> all but the gradient afterwards.  `steps`
/// of the groups count the update at hand; 0 marks a group that takes no part.
Outputs reference(const std::vector<AdamWGroup>& groups, const std::vector<Numbers>& v) {
  Numbers w = v[0], m = v[2], s = v[3], copy = v[4];
  for (const AdamWGroup& group : groups)
    for (int64_t i = group.begin; i < group.end && group.steps > 0; ++i) {
      const double lr = static_cast<double>(group.lr) * kStepState.lr_factor;
      const Number g = v[1][i];
      w[i] -= lr * group.weight_decay * w[i];
      m[i] = kBeta1 * m[i] + (1.0 - kBeta1) * g;
      s[i] = kBeta2 * s[i] + (1.0 - kBeta2) * g * g;
      const Number first = m[i] / (1.0 - std::pow(static_cast<double>(kBeta1), group.steps));
      const Number second = s[i] / (1.0 - std::pow(static_cast<double>(kBeta2), group.steps));
      w[i] -= lr * first / (sqrt(second) + kEps);
      copy[i] = w[i];
    }
  return {w, m, s, copy};
}

OpCase adamw_case(std::string name, const std::vector<AdamWGroup>& groups, bool fresh = false,
                  Draw gradient = normal(0.1)) {
  const Shape shape{groups.back().end};
  const Draw zero = always(0.0);
  return {.name = "adamw_" + name,
          .inputs = {{"value", shape, normal(), state, DType::f32},
                     {"gradient", shape, gradient, constant, DType::f32},
                     {"first moment", shape, fresh ? zero : normal(0.1), state, DType::f32},
                     {"second moment", shape, fresh ? zero : uniform_between(0.001, 0.02), state, DType::f32},
                     {"copy", shape, normal(), state, DType::bf16}},
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                Device& device = tape.device();
                const auto bytes = static_cast<int64_t>(groups.size() * sizeof(AdamWGroup));
                Tensor groups_tensor(device, {bytes}, DType::u8),
                    state_tensor(device, {sizeof(StepState)}, DType::u8);
                device.upload(groups_tensor.raw(), before(groups).data(), bytes);
                device.upload(state_tensor.raw(), &kStepState, sizeof(StepState));
                const auto on_device = static_cast<AdamWGroup*>(groups_tensor.raw());
                const int count = static_cast<int>(groups.size());
                device.run(AdamWCount{.groups = on_device, .group_count = count, .active = started(groups)});
                // In three parts: begun at a multiple of four, and anywhere.
                const int64_t n = t[0].elements(), cuts[] = {0, n / 3 / 4 * 4, n / 2, n};
                for (int part = 0; part < 3; ++part)
                  device.run(AdamW{.value = t[0].data<float>(),
                                   .gradient = t[1].data<float>(),
                                   .first_moment = t[2].data<float>(),
                                   .second_moment = t[3].data<float>(),
                                   .rounded = static_cast<bf16*>(t[4].raw()),
                                   .groups = on_device,
                                   .group_count = count,
                                   .active = started(groups),
                                   .state = static_cast<const StepState*>(state_tensor.raw()),
                                   .beta1 = kBeta1,
                                   .beta2 = kBeta2,
                                   .eps = kEps,
                                   .begin = cuts[part],
                                   .end = cuts[part + 1]});
                return std::vector{t[0], t[2], t[3], t[4]};
              },
          .reference = [=](const std::vector<Numbers>& v) { return reference(groups, v); },
          .mode = Tape::Mode::evaluate,
          .absolute = 0.0};
}

}  // namespace

std::vector<OpCase> adamw_cases() {
  return {
      adamw_case("one", {{0, 1, 0.1f, 0.01f, 1}}, true),
      adamw_case("first_step", {{0, 1025, 0.1f, 0.01f, 1}}, true),
      adamw_case("70001", {{0, 3, 0.2f, 0.1f, 2}, {3, 70001, 0.1f, 0.01f, 3}}),
      adamw_case("gradients_as_small_as_eps", {{0, 33, 0.1f, 0.0f, 1}}, true, normal(1e-8)),
      adamw_case("no_gradient_yet", {{0, 33, 0.1f, 0.01f, 1}}, true, always(0.0)),
      adamw_case("later_step", {{0, 260, 0.1f, 0.5f, 1000}}),
      adamw_case("groups", {{0, 33, 0.1f, 0.01f, 5},
                            {33, 165, 0.0f, 0.0f, 5},       // frozen: only the moments move
                            {165, 168, 1.0f, 0.01f, 0},     // not started: nothing moves
                            {170, 1195, 0.5f, 0.0f, 70}}),  // behind a gap
  };
}

}  // namespace scrawl::op_table
