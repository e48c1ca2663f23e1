#include "train/replay.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/files.h"
#include "engine/safetensors.h"
#include "kernels/labels.h"
#include "train/bias_walk.h"
#include "train/training_step.h"

namespace scrawl {
namespace {

using Json = nlohmann::json;

struct Step {
  bool use_prototypes = false;
  float lr_factor = 1.0f;
  std::string phase;
};

struct Case {
  ModelConfig model;
  LossWeights loss;
  std::vector<GroupSettings> groups;
  std::array<double, 2> betas{};
  std::vector<Step> steps;
  TensorFile init, record;
};

ModelConfig model_of(const Json& json) {
  const Json& model = json.at("model");
  ModelConfig config;
  model.at("embed_dims").get_to(config.embed_dims);
  model.at("depths").get_to(config.depths);
  model.at("heads").get_to(config.heads);
  model.at("reductions").get_to(config.reductions);
  model.at("strides").get_to(config.strides);
  model.at("mlp_ratio").get_to(config.mlp_ratio);
  model.at("width").get_to(config.width);
  model.at("classes").get_to(config.classes);
  json.at("prototype").at("slots").get_to(config.slots);
  json.at("prototype").at("rate").get_to(config.bank_rate);
  config.drop_path = config.dropout = 0.0f;
  return config;
}

LossWeights weights_of(const Json& loss) {
  return {.without = loss.at("without"),
          .local_pce = loss.at("local_pce"),
          .local_con = loss.at("local_con"),
          .global_pce = loss.at("global_pce"),
          .global_con_local = loss.at("global_con_local"),
          .global_con_global = loss.at("global_con_global")};
}

Case read_case(const std::filesystem::path& dir) {
  if (!std::filesystem::is_directory(dir))
    throw InputError("{}: no such folder of a recorded run", dir.string());
  const std::filesystem::path path = dir / "case.json";
  const std::string text = read_file(path);
  Case c;
  try {
    const Json json = Json::parse(text);
    c.model = model_of(json);
    c.loss = weights_of(json.at("loss"));
    const Json& optimizer = json.at("optimizer");
    c.groups = published_groups(optimizer.at("lr"), optimizer.at("weight_decay"));
    optimizer.at("betas").get_to(c.betas);
    for (const Json& step : json.at("steps"))
      c.steps.push_back({step.at("use_prototypes"), step.at("lr_factor"), step.at("phase")});
    check(c.model);
  } catch (const InputError& error) {
    throw InputError("{}: {}", path.string(), error.what());
  } catch (const Json::exception& error) {
    throw InputError("{}: {}", path.string(), error.what());
  }
  c.init = read_safetensors(dir / "init.safetensors");
  c.record = read_safetensors(dir / "record.safetensors");
  return c;
}

/// PyTorch's N,C,H,W as our N,H,W,C.
std::vector<float> channels_last(const HostTensor& tensor) {
  const std::vector<float> values = tensor.floats();
  const int64_t images = tensor.shape[0], channels = tensor.shape[1],
                pixels = tensor.shape[2] * tensor.shape[3];
  std::vector<float> out(values.size());
  for (int64_t n = 0; n < images; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < pixels; ++p)
        out[(n * pixels + p) * channels + c] = values[(n * channels + c) * pixels + p];
  return out;
}

/// A tensor on the host as the record holds it: maps of rank 4 go back to N,C,H,W.  Empty when the sizes
/// differ.
std::vector<float> as_recorded(const Tensor& tensor, const HostTensor& want) {
  std::vector<float> values = tensor.to_host();
  if (want.elements() != tensor.elements()) return {};
  if (want.shape.size() != 4) return values;
  const int64_t channels = want.shape[1], pixels = want.shape[2] * want.shape[3];
  std::vector<float> out(values.size());
  for (int64_t n = 0; n < want.shape[0]; ++n)
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t c = 0; c < channels; ++c)
        out[(n * channels + c) * pixels + p] = values[(n * pixels + p) * channels + c];
  return out;
}

double error_of(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (double{got[i]} - want[i]) * (double{got[i]} - want[i]);
    norm += double{want[i]} * want[i];
  }
  const double error =
      std::sqrt(difference) / (std::sqrt(norm) + 1e-5 * std::sqrt(static_cast<double>(want.size())));
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

/// What is compared, and how closely.
std::vector<ReplayRow> limits(DType storage) {
  if (storage == DType::bf16) return {{.quantity = "losses", .limit = 2e-2}};
  return {{.quantity = "losses", .limit = 1e-5},     {.quantity = "maps", .limit = 1e-4},
          {.quantity = "prototypes", .limit = 1e-4}, {.quantity = "bank", .limit = 1e-4},
          {.quantity = "gradients", .limit = 5e-3},  {.quantity = "final", .limit = 2e-2},
          {.quantity = "trained", .limit = 2e-2}};
}

/// Compares what was recorded under a name, and keeps the worst error of each kind of quantity.
class Comparison {
 public:
  Comparison(const TensorFile& record, std::vector<ReplayRow> rows)
      : record_(record), rows_(std::move(rows)) {}

  bool compares(const std::string& kind) const {
    return std::ranges::find(rows_, kind, &ReplayRow::quantity) != rows_.end();
  }
  void compare(const std::string& kind, const std::string& name, const std::vector<float>& got) {
    if (compares(kind) && record_.contains(name)) note(kind, name, error_of(got, record_.at(name).floats()));
  }
  void compare(const std::string& kind, const std::string& name, const Tensor& got) {
    if (compares(kind) && got.defined() && record_.contains(name))
      compare(kind, name, as_recorded(got, record_.at(name)));
  }

  /// The kinds of quantity that the record holds, in a fixed order.
  std::vector<ReplayRow> rows() const {
    std::vector<ReplayRow> rows;
    for (const ReplayRow& row : rows_)
      if (row.compared > 0) rows.push_back(row);
    return rows;
  }

 private:
  void note(const std::string& kind, const std::string& name, double error) {
    ReplayRow& row =
        *std::find_if(rows_.begin(), rows_.end(), [&](const ReplayRow& r) { return r.quantity == kind; });
    ++row.compared;
    if (error < row.worst || (row.compared > 1 && error == row.worst)) return;
    row.worst = error;
    row.where = name;
  }

  const TensorFile& record_;
  std::vector<ReplayRow> rows_;
};

class Replay {
 public:
  Replay(Device& device, const Case& recorded, DType storage)
      : device_(device),
        case_(recorded),
        model_(device, recorded.model),
        step_(model_, 0, recorded.betas, recorded.loss),
        comparison_(recorded.record, limits(storage)) {
    model_.initialise(recorded.groups, 0, /*differentiate_frozen=*/true, storage);
    model_.parameters().load(recorded.init);
  }

  ReplayResult run() {
    ReplayResult result;
    evaluate("eval", "maps");
    for (size_t s = 0; s < case_.steps.size(); ++s) {
      const Phase phase = train(s);
      if (name_of(phase) != case_.steps[s].phase)
        result.phase_errors.push_back(
            fmt::format("step {} was in phase {}, recorded in {}", s, name_of(phase), case_.steps[s].phase));
    }
    for (const Parameter& parameter : model_.parameters().all()) compare_final(parameter);
    evaluate("trained", "trained");
    result.rows = comparison_.rows();
    return result;
  }

 private:
  /// Image-level tags, [images, classes].
  std::vector<uint8_t> tags(const std::string& prefix) {
    const HostTensor& present = case_.record.at(prefix + "present");
    const int64_t images = case_.record.at(prefix + "image").shape[0], classes = case_.model.classes;
    if (present.shape != std::vector{images, classes})
      throw InputError("'{}present' has shape [{}], expected [{}, {}]", prefix,
                       fmt::join(present.shape, ", "), images, classes);
    std::vector<uint8_t> tags;
    for (int64_t value : present.integers()) tags.push_back(value != 0);
    return tags;
  }

  DeviceBatch batch(const std::string& prefix) {
    const HostTensor& image = case_.record.at(prefix + "image");
    const HostTensor& label = case_.record.at(prefix + "label");
    const Tensor pixels = image_of(prefix + "image");
    const int64_t images = image.shape[0], classes = case_.model.classes;
    if (label.shape != std::vector{images, image.shape[2], image.shape[3]})
      throw InputError("'{}label' has shape [{}], its image [{}]", prefix, fmt::join(label.shape, ", "),
                       fmt::join(image.shape, ", "));
    std::vector<uint8_t> labels;
    for (int64_t value : label.integers()) {
      if ((value < 0 || value >= classes) && value != kUnlabelled)
        throw InputError("'{}label' holds {}, expected 0 to {} or {}", prefix, value, classes - 1,
                         kUnlabelled);
      labels.push_back(static_cast<uint8_t>(value));
    }
    return {.image = pixels,
            .label = Tensor::from(device_, {images, image.shape[2], image.shape[3]}, labels),
            .present = Tensor::from(device_, {images, classes}, tags(prefix))};
  }

  Tensor image_of(const std::string& name) {
    const HostTensor& image = case_.record.at(name);
    const int least = case_.model.minimum_side();
    if (image.shape.size() != 4 || image.shape[0] < 1 || image.shape[1] != 3 || image.shape[2] < least ||
        image.shape[3] < least)
      throw InputError("'{}' has shape [{}], expected [images, 3, height, width] with sides of at least {}",
                       name, fmt::join(image.shape, ", "), least);
    return Tensor::from(device_, {image.shape[0], image.shape[2], image.shape[3], image.shape[1]},
                        channels_last(image));
  }

  void evaluate(const std::string& name, const std::string& kind) {
    if (!case_.record.contains(name + ".image")) return;
    Tape tape(device_, Tape::Mode::evaluate);
    const std::array<Tensor, 4> maps = model_.encode(tape, image_of(name + ".image"));
    const auto [feat, logits] = model_.decode(tape, maps);
    for (int i = 0; i < 4; ++i) comparison_.compare(kind, fmt::format("{}.stage{}", name, i + 1), maps[i]);
    comparison_.compare(kind, name + ".feat", feat);
    comparison_.compare(kind, name + ".logits", logits);
  }

  Phase train(size_t s) {
    const std::string prefix = fmt::format("step{}.", s);
    const DeviceBatch inputs = batch(prefix);
    const Phase phase = model_.next_phase(case_.steps[s].use_prototypes, tags(prefix));
    const LossParts parts = step_.forward_backward(
        inputs, phase, {.step = s, .lr_factor = case_.steps[s].lr_factor}, /*all_parts=*/true);
    const std::pair<const char*, const Tensor&> losses[] = {
        {"total", parts.total},           {"pce", parts.pce},
        {"pce_local", parts.pce_local},   {"con_local", parts.con_local},
        {"pce_global", parts.pce_global}, {"con_global", parts.con_global}};
    for (const auto& [name, loss] : losses) comparison_.compare("losses", prefix + name, loss);
    const std::pair<const char*, const Tensor&> maps[] = {{"feat", parts.feat},
                                                          {"logits", parts.logits},
                                                          {"logits_local", parts.logits_local},
                                                          {"logits_global", parts.logits_global}};
    for (const auto& [name, map] : maps) comparison_.compare("maps", prefix + name, map);
    comparison_.compare("prototypes", prefix + "prototypes", parts.prototypes);
    comparison_.compare("bank", prefix + "bank", model_.bank().values());
    if (parts.prototypes.defined()) {
      const std::vector<int32_t> filled = model_.bank().filled().to_host<int32_t>();
      comparison_.compare("bank", prefix + "filled", std::vector<float>(filled.begin(), filled.end()));
    }
    compare_gradients(prefix, phase);
    step_.update(phase);
    return phase;
  }

  void compare_gradients(const std::string& prefix, Phase phase) {
    const ActiveGroups active = Pfa::active_groups(phase);
    for (const Parameter& parameter : model_.parameters().all()) {
      const std::string name = prefix + "grad/" + parameter.name;
      if (parameter.learnt && is_active(active, parameter.group) && case_.record.contains(name))
        comparison_.compare("gradients", name, model_.parameters().gradient_to_file(parameter).floats());
    }
  }

  void compare_final(const Parameter& parameter) {
    if (walks_by_noise(parameter.name)) return;
    std::vector<float> got = model_.parameters().to_file(parameter).floats();
    if (parameter.name == kRunningMean && case_.record.contains("final/" + parameter.name)) {
      std::vector<float> lr_factors;
      for (const Step& step : case_.steps) lr_factors.push_back(step.lr_factor);
      follow_bias_walk(got, model_.parameters(), case_.record, lr_factors);
    }
    comparison_.compare("final", "final/" + parameter.name, got);
  }

  Device& device_;
  const Case& case_;
  Pfa model_;
  TrainingStep step_;
  Comparison comparison_;
};

}  // namespace

bool ReplayResult::passed() const {
  return phase_errors.empty() && !rows.empty() &&
         std::all_of(rows.begin(), rows.end(), [](const ReplayRow& row) { return row.passed(); });
}

ReplayResult replay(Device& device, const std::filesystem::path& case_dir, DType storage) {
  const Case recorded = read_case(case_dir);
  ReplayResult result;
  try {
    result = Replay(device, recorded, storage).run();
  } catch (const InputError& error) {
    throw InputError("{}: {}", case_dir.string(), error.what());
  }
  result.name =
      case_dir.filename().empty() ? case_dir.parent_path().filename().string() : case_dir.filename().string();
  return result;
}

}  // namespace scrawl
