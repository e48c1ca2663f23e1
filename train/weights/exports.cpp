#include "train/weights/exports.h"

#include "data/class_list.h"
#include "engine/error.h"
#include "engine/files.h"
#include "engine/safetensors.h"
#include "engine/torch_file.h"
#include "train/weights/hugging_face.h"
#include "train/weights/naming.h"

namespace scrawl {
namespace {

/// Both codes look for PyTorch's count of the batches that batch norm has seen, which nothing here depends
/// on.
HostTensor batches_seen(const CheckpointInfo& info) {
  return HostTensor::of({}, std::vector<int64_t>{info.state.step});
}

/// Part `index` of `count` equal shares of a tensor's rows.
HostTensor rows_of(const HostTensor& tensor, size_t index, size_t count) {
  HostTensor part{tensor.dtype, tensor.shape, {}};
  part.shape[0] /= static_cast<int64_t>(count);
  const auto size = static_cast<int64_t>(tensor.bytes.size() / count);
  const auto begin = tensor.bytes.begin() + static_cast<int64_t>(index) * size;
  part.bytes.assign(begin, begin + size);
  return part;
}

/// The parameters that there are, under our names and in PyTorch's layouts.
TensorFile parameters_of(const TrainedModel& trained) {
  TensorFile file;
  const Parameters& parameters = trained.model.parameters();
  for (const Parameter& parameter : parameters.all())
    if (trained.feature_augmentation || !parameter.name.starts_with("feature_aug."))
      file.tensors[parameter.name] = parameters.to_file(parameter);
  return file;
}

/// The classes' names, of which weights without metadata know none.
std::vector<std::string> class_names(const TrainedModel& trained) {
  const int classes = trained.model.config().classes;
  const bool complete = static_cast<int>(trained.info.classes.names.size()) == classes;
  return complete ? trained.info.classes.names : default_classes(classes).names;
}

}  // namespace

void export_published(const std::filesystem::path& path, const TrainedModel& trained) {
  const std::string extension = path.extension().string();
  if (extension != ".pth" && extension != ".safetensors")
    throw InputError("--out {}: expected a name that ends in .pth or .safetensors", path.string());
  TensorFile file = parameters_of(trained);
  file.tensors["decoder.linear_fuse.bn.num_batches_tracked"] = batches_seen(trained.info);
  file.metadata["format"] = "pt";
  write_info(file, trained.info);
  extension == ".pth" ? write_torch_file(path, file) : write_safetensors(path, file);
}

void export_hugging_face(const std::filesystem::path& folder, const TrainedModel& trained) {
  TensorFile file;
  for (const auto& [name, tensor] : parameters_of(trained).tensors) {
    const std::vector<std::string> names = names_in(Naming::hugging_face, name);
    for (size_t i = 0; i < names.size(); ++i) file.tensors[names[i]] = rows_of(tensor, i, names.size());
  }
  file.tensors["decode_head.batch_norm.num_batches_tracked"] = batches_seen(trained.info);
  file.metadata["format"] = "pt";
  const std::string config = hugging_face_config(trained.model.config(), class_names(trained));
  write_folder_atomically(folder, [&](const std::filesystem::path& made) {
    write_safetensors(made / "model.safetensors", file);
    write_file_atomically(made / "preprocessor_config.json",
                          [](std::ostream& out) { out << hugging_face_preprocessor(); });
    write_file_atomically(made / "config.json", [&](std::ostream& out) { out << config; });
  });
}

void export_checkpoint(const std::filesystem::path& path, const TrainedModel& trained) {
  if (path.extension() != ".safetensors")
    throw InputError("--out {}: expected a name that ends in .safetensors", path.string());
  TensorFile file = parameters_of(trained);
  if (trained.bank) trained.model.bank().save(file);
  file.metadata["format"] = kCheckpointFormat;
  write_info(file, trained.info);
  write_safetensors(path, file);
}

}  // namespace scrawl
