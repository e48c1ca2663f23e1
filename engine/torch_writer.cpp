// What torch.save would write of an ordered dictionary of tensors: a pickle in protocol 2, without a memo,
// and an entry for each storage.
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/torch_file.h"
#include "engine/torch_tensors.h"
#include "engine/zip_file.h"

namespace scrawl {
namespace {

/// Writes the opcodes of a pickle one by one; see Lib/pickletools.py of CPython.
class PickleWriter {
 public:
  PickleWriter() : stream_("\x80\x02") {}

  void mark() { stream_ += '('; }
  void tuple() { stream_ += 't'; }           // of everything since the mark
  void set_items() { stream_ += 'u'; }       // key, value, key, value … since the mark
  void persistent() { stream_ += 'Q'; }      // the value under the id on top
  void call() { stream_ += 'R'; }            // of the function below the tuple on top
  void no_gradient() { stream_ += '\x89'; }  // False
  void empty_tuple() { stream_ += ')'; }
  void global(const char* module, const std::string& name) {
    stream_ += fmt::format("c{}\n{}\n", module, name);
  }
  void text(const std::string& text) {
    stream_ += 'X';
    number(static_cast<uint32_t>(text.size()));
    stream_ += text;
  }
  void integer(int64_t value) {
    if (value <= std::numeric_limits<int32_t>::max()) {
      stream_ += 'J';
      number(static_cast<int32_t>(value));
    } else {
      stream_ += "\x8a\x08";
      number(value);
    }
  }
  void integers(const std::vector<int64_t>& values) {
    mark();
    for (int64_t value : values) integer(value);
    tuple();
  }
  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    empty_tuple();
    call();
  }
  std::string finish() && {
    stream_ += '.';
    return std::move(stream_);
  }

 private:
  template <typename T>
  void number(T value) {
    stream_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  std::string stream_;
};

std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t dim = shape.size(); dim-- > 1;) strides[dim - 1] = strides[dim] * shape[dim];
  return strides;
}

/// torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward_hooks)
void write_tensor(PickleWriter& pickle, const HostTensor& tensor, const std::string& key) {
  pickle.global("torch._utils", "_rebuild_tensor_v2");
  pickle.mark();
  pickle.mark();
  pickle.text("storage");
  pickle.global("torch", storage_class(tensor.dtype));
  pickle.text(key);
  pickle.text("cpu");
  pickle.integer(tensor.elements());
  pickle.tuple();
  pickle.persistent();
  pickle.integer(0);
  pickle.integers(tensor.shape);
  pickle.integers(contiguous_strides(tensor.shape));
  pickle.no_gradient();
  pickle.empty_ordered_dict();
  pickle.tuple();
  pickle.call();
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

void write_torch_file(const std::filesystem::path& path, const TensorFile& file) {
  // The folder is called after the file, as PyTorch does; its readers take whatever name they find.
  const std::string root = path.stem().string() + "/", version = "3\n", order = "little";
  const std::string metadata = nlohmann::json(file.metadata).dump();
  PickleWriter pickle;
  pickle.empty_ordered_dict();
  pickle.mark();
  std::vector<std::pair<std::string, std::span<const std::byte>>> storages;
  for (const auto& [name, tensor] : file.tensors) {
    const std::string key = std::to_string(storages.size());
    pickle.text(name);
    write_tensor(pickle, tensor, key);
    storages.emplace_back(root + "data/" + key, tensor.bytes);
  }
  pickle.set_items();
  const std::string stream = std::move(pickle).finish();

  std::vector<std::pair<std::string, std::span<const std::byte>>> entries{
      {root + "data.pkl", bytes_of(stream)}, {root + "byteorder", bytes_of(order)}};
  entries.insert(entries.end(), storages.begin(), storages.end());
  entries.emplace_back(root + "version", bytes_of(version));
  if (!file.metadata.empty()) entries.emplace_back(root + kTorchMetadata, bytes_of(metadata));
  write_zip(path, entries);
}

}  // namespace scrawl
