#include "train/config/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <limits>
#include <map>

#include "engine/error.h"
#include "train/config/nearest.h"
#include "train/config/setting.h"
#include "train/config/yaml_file.h"

namespace scrawl {
namespace {

constexpr Range kPositive{.low = 1, .words = "at least 1"};
constexpr Range kSize{.low = 1, .high = 65536, .words = "between 1 and 65536"};
constexpr Range kDepth{.low = 1, .high = 1000, .words = "between 1 and 1000"};
constexpr Range kNotNegative{.low = 0, .words = "at least 0"};
// The optimiser computes with floats: what is no number above 0, or below 1, there is none.
constexpr Range kAboveZero{.low = std::numeric_limits<float>::min(), .words = "above 0"};
constexpr Range kShare{.low = 0, .high = 1, .words = "between 0 and 1"};
constexpr Range kBelowOne{.low = 0, .high = 1 - 0x1p-24, .words = "at least 0 and below 1"};
constexpr Range kWorkers{.low = 0, .high = 256, .words = "between 0 and 256"};
constexpr Range kByte{.low = 0, .high = 255, .words = "between 0 and 255"};
constexpr Range kStride{.low = 1, .high = 32, .words = "between 1 and 32"};
// Labels are bytes, and one value must be left for unlabelled pixels.
constexpr Range kClasses{.low = 2, .high = 255, .words = "between 2 (background and one more) and 255"};

/// Every key that a configuration may hold, bound to `c`.
std::vector<Setting> settings(Config& c) {
  return {
      {"project_name", &c.project_name},
      {"seed", &c.seed},
      {"model.backbone", &c.backbone},
      {"model.pretrained", &c.pretrained},
      {"model.embed_dims", &c.model.embed_dims, kSize},
      {"model.depths", &c.model.depths, kDepth},
      {"model.heads", &c.model.heads, kSize},
      {"model.reductions", &c.model.reductions, kDepth},
      {"model.stride", &c.model.strides, kStride},
      {"model.mlp_ratio", &c.model.mlp_ratio, kDepth},
      {"model.drop_path", &c.model.drop_path, kBelowOne},
      {"model.dropout", &c.model.dropout, kBelowOne},
      {"model.encoder_embed_dim", Ignored{"the backbone sets its sizes"}},
      {"model.decoder_embedding_dim", &c.model.width, kSize},
      {"dataset.data_root", &c.data_root},
      {"dataset.image_path", &c.image_path},
      {"dataset.label_path", &c.label_path},
      {"dataset.val_label_path", &c.val_label_path},
      {"dataset.train_data_list", &c.train_data_list},
      {"dataset.val_data_list", &c.val_data_list},
      {"dataset.batch_size", &c.batch_size, kPositive},
      {"dataset.num_workers", &c.num_workers, kWorkers},
      {"dataset.shuffle", Ignored{"training draws in random order, validation goes through the list"}},
      {"dataset.pin_memory", Ignored{"the loader decides"}},
      {"dataset.num_classes", &c.model.classes, kClasses},
      {"dataset.crop_size", &c.crop, kSize},
      {"dataset.ignore_label", &c.ignore_label, kByte},
      {"prototype.global_num", &c.model.slots, kSize},
      {"prototype.update_rate", &c.model.bank_rate, kShare},
      {"prototype.dim", SameAs{&c.model.width, "model.decoder_embedding_dim"}},
      {"prototype.use_epoch", &c.prototype_epoch, kNotNegative},
      {"work_dir.dir", Ignored{"runs are written below work_dir.ckpt_dir"}},
      {"work_dir.ckpt_dir", &c.checkpoint_dir},
      {"work_dir.pre_weight", &c.pretrained_path},
      {"train.gpu_ids", Ignored{"--device chooses"}},
      {"train.epoch", &c.epochs, kPositive},
      {"train.val_every", &c.val_every, kPositive},
      {"train.precision", &c.precision},
      {"optimizer.learning_rate", &c.learning_rate, kAboveZero},
      {"optimizer.betas", &c.betas, kBelowOne},
      {"optimizer.weight_decay", &c.weight_decay, kNotNegative},
      {"optimizer.lr_policy", &c.lr_policy},
      {"class_threshold", Ignored{"the method has no such step"}},
      {"loss.without", &c.loss.without, kNotNegative},
      {"loss.local.pce_local", &c.loss.local_pce, kNotNegative},
      {"loss.local.con_local", &c.loss.local_con, kNotNegative},
      {"loss.global_.pce_global", &c.loss.global_pce, kNotNegative},
      {"loss.global_.con_local", &c.loss.global_con_local, kNotNegative},
      {"loss.global_.con_global", &c.loss.global_con_global, kNotNegative},
  };
}

/// The names of all settings and of the groups they stand in.
std::vector<std::string> known_names(const std::vector<Setting>& all) {
  std::vector<std::string> names;
  for (const Setting& setting : all) {
    for (size_t end = 0; end != std::string::npos;) {
      end = setting.key.find('.', end ? end + 1 : 0);
      std::string name(setting.key.substr(0, end));
      if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
    }
  }
  return names;
}

struct Given {
  YAML::Node value;
  std::string where;  // what error messages start with: file and line, or --set
};

/// What the user wrote, before it is understood: dotted keys with their values.
class GivenKeys {
 public:
  GivenKeys(const std::string& file, const std::vector<Setting>& all)
      : file_(file), all_(all), names_(known_names(all)) {}

  void add_file(const std::string& text) {
    const YAML::Node root = parse_yaml(text, file_);
    if (!root.IsMap()) throw InputError("{}: expected a configuration (key: value), found none", file_);
    add_group(root, "");
  }

  void add_override(const std::string& text) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) throw InputError("--set {}: expected key=value", text);
    const std::string key = text.substr(0, equals);
    if (!is_setting(key)) refuse(key, "--set " + text);
    given_.insert_or_assign(key, Given{YAML::Node(text.substr(equals + 1)), "--set " + text});
  }

  const Given* find(std::string_view key) const {
    const auto found = given_.find(key);
    return found == given_.end() ? nullptr : &found->second;
  }

  /// Where `key` was given, or else the file, for a message about its value.
  std::string where(std::string_view key) const {
    const Given* given = find(key);
    return given ? given->where : file_;
  }

 private:
  bool is_setting(std::string_view key) const { return std::ranges::count(all_, key, &Setting::key) > 0; }

  [[noreturn]] void refuse(const std::string& key, const std::string& where) const {
    if (std::ranges::count(names_, key) > 0) {
      throw InputError("{}: '{}' is a group of keys, not a key", where, key);
    }
    throw InputError("{}: unknown key '{}'; did you mean '{}'?", where, key, nearest(key, names_));
  }

  void add_group(const YAML::Node& group, const std::string& prefix) {
    for (const auto& pair : group) {
      const YAML::Node &name = pair.first, &value = pair.second;
      const std::string where = fmt::format("{}:{}", file_, name.Mark().line + 1);
      if (!name.IsScalar()) throw InputError("{}: expected a key, got a list or a group", where);
      const std::string key = prefix + name.Scalar();
      if (is_setting(key)) {
        if (!given_.emplace(key, Given{value, where}).second)
          throw InputError("{}: {} is given twice", where, key);
      } else if (std::ranges::count(names_, key) > 0 && (value.IsMap() || value.IsNull())) {
        add_group(value, key + ".");
      } else {
        refuse(key, where);
      }
    }
  }

  std::string file_;
  const std::vector<Setting>& all_;
  std::vector<std::string> names_;
  std::map<std::string, Given, std::less<>> given_;
};

/// Sets the sizes that the backbone's name stands for; single sizes may then be given on top.
void apply_backbone(const GivenKeys& given, Config& config) {
  if (config.backbone == "custom") {
    for (const char* key : {"model.embed_dims", "model.depths"}) {
      if (given.find(key)) continue;
      throw InputError("{}: model.backbone is custom, so {} must be given too", given.where("model.backbone"),
                       key);
    }
    return;
  }
  try {
    config.model = backbone(config.backbone);
  } catch (const InputError& error) {
    throw InputError("{}: {}, or custom", given.where("model.backbone"), error.what());
  }
}

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

/// val.txt; but who has one list only sees how well the images of that one are learned.
std::string usual_val_list(const Config& config) {
  Config usual = config;
  usual.val_data_list = "val.txt";
  const bool one_list =
      is_there(config.data_root / config.train_list()) && !is_there(config.data_root / usual.val_list());
  return one_list ? config.train_data_list : usual.val_data_list;
}

/// What only shows when several keys are seen together.
void check_together(const GivenKeys& given, const Config& config) {
  const ModelConfig& model = config.model;
  if (config.data_root.empty()) {
    throw InputError("{}: dataset.data_root is missing: the folder that holds the images, labels and lists",
                     given.where("dataset.data_root"));
  }
  if (config.ignore_label < model.classes) {
    throw InputError("{}: dataset.ignore_label is {}, which is one of the {} classes",
                     given.where("dataset.ignore_label"), config.ignore_label, model.classes);
  }
  for (int stage = 0; stage < 4; ++stage) {
    if (model.embed_dims[stage] % model.heads[stage] == 0) continue;
    throw InputError(
        "{}: stage {} has {} channels, which {} heads do not divide (model.embed_dims, model.heads)",
        given.where(given.find("model.heads") ? "model.heads" : "model.embed_dims"), stage + 1,
        model.embed_dims[stage], model.heads[stage]);
  }
  if (model.width % 2 != 0) {
    throw InputError("{}: model.decoder_embedding_dim must be even, got {}",
                     given.where("model.decoder_embedding_dim"), model.width);
  }
  if (std::min(config.crop.height, config.crop.width) < model.minimum_side()) {
    throw InputError("{}: dataset.crop_size is {}x{}, the network's strides and reductions need at least {}",
                     given.where("dataset.crop_size"), config.crop.height, config.crop.width,
                     model.minimum_side());
  }
}

}  // namespace

std::filesystem::path Config::list(const std::string& name) const {
  const std::filesystem::path usual = std::filesystem::path("ImageSets") / name;
  return !is_there(data_root / usual) && is_there(data_root / name) ? std::filesystem::path(name) : usual;
}

Config load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return parse_config(read_yaml_file(file), file.string(), overrides);
}

Config parse_config(const std::string& text, const std::string& name,
                    const std::vector<std::string>& overrides) {
  Config config;
  config.project_name = std::filesystem::path(name).stem().string();
  const std::vector<Setting> all = settings(config);
  GivenKeys given(name, all);
  given.add_file(text);
  for (const std::string& override_ : overrides) given.add_override(override_);

  // The backbone comes first, since it decides what the sizes are unless they are given.
  if (const Given* chosen = given.find("model.backbone")) {
    read({"model.backbone", &config.backbone}, chosen->value, chosen->where);
  }
  apply_backbone(given, config);
  for (const Setting& setting : all) {
    const Given* found = given.find(setting.key);
    if (!found) continue;
    read(setting, found->value, found->where);
    if (const auto* ignored = std::get_if<Ignored>(&setting.target)) {
      config.ignored.push_back(fmt::format("{} ({})", setting.key, ignored->why));
    }
  }
  if (config.val_label_path.empty()) config.val_label_path = config.label_path;
  if (config.val_data_list.empty()) config.val_data_list = usual_val_list(config);
  check_together(given, config);
  return config;
}

std::string describe(const Config& config) {
  Config copy = config;
  // Sizes that the backbone's name stands for are left out: another name then still brings its own.
  const bool custom = config.backbone == "custom";
  const ModelConfig named = custom ? ModelConfig{} : backbone(config.backbone);
  YAML::Node root(YAML::NodeType::Map);
  for (const Setting& setting : settings(copy)) {
    const YAML::Node value = write(setting);
    if (value.IsNull()) continue;
    if (setting.key == "model.embed_dims" && !custom && config.model.embed_dims == named.embed_dims) continue;
    if (setting.key == "model.depths" && !custom && config.model.depths == named.depths) continue;
    YAML::Node place = root;
    std::string_view rest = setting.key;
    for (size_t dot; (dot = rest.find('.')) != std::string_view::npos; rest = rest.substr(dot + 1)) {
      place.reset(place[std::string(rest.substr(0, dot))]);
    }
    place[std::string(rest)] = value;
  }
  return YAML::Dump(root) + "\n";
}

}  // namespace scrawl
