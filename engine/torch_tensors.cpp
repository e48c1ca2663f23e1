#include "engine/torch_tensors.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"

namespace scrawl {
namespace {

using Kind = PickleValue::Kind;

/// Tensors, and beside them only what states of training hold of numpy's numbers and of sizes.
constexpr std::string_view kGlobals[] = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.DoubleStorage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
};

struct StorageClass {
  std::string_view name, dtype;
};
constexpr StorageClass kStorages[] = {
    {"FloatStorage", "F32"}, {"HalfStorage", "F16"}, {"BFloat16Storage", "BF16"}, {"DoubleStorage", "F64"},
    {"LongStorage", "I64"},  {"IntStorage", "I32"},  {"ShortStorage", "I16"},     {"CharStorage", "I8"},
    {"ByteStorage", "U8"},   {"BoolStorage", "BOOL"}};

std::string dtype_of(std::string_view global) {
  constexpr std::string_view kModule = "torch.";
  if (!global.starts_with(kModule)) return "";
  global.remove_prefix(kModule.size());
  const auto found = std::ranges::find(kStorages, global, &StorageClass::name);
  return found == std::end(kStorages) ? "" : std::string(found->dtype);
}

/// Walks through dictionaries and lists, which may share and contain each other.
class TensorWalk {
 public:
  TensorWalk(const Pickle& pickle, int64_t& memory, const std::string& where)
      : where_(where), memory_(memory), visits_left_(1024 + 4 * pickle.size()) {
    visit(pickle.root(), "", 0);
  }

  TorchTensors tensors;

 private:
  static constexpr int kDeepest = 32;
  static constexpr size_t kLongestName = 1000;

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw InputError("{}: {}", where_, fmt::format(format, std::forward<Args>(args)...));
  }

  void visit(PickleValue value, const std::string& name, int depth) {
    if (depth > kDeepest) fail("dictionaries and lists lie more than {} deep in each other", kDeepest);
    if (name.size() > kLongestName) fail("a name has more than {} characters", kLongestName);
    if (visits_left_-- == 0) fail("the same dictionaries and lists occur again and again; refused");
    const auto inner = [&](const std::string& key, PickleValue item) {
      visit(item, name.empty() ? key : name + "." + key, depth + 1);
    };
    if (value.is(Kind::dict)) {
      for (size_t i = 0; i < value.size(); i += 2) inner(key_text(value[i]), value[i + 1]);
    } else if (value.is(Kind::tuple) || value.is(Kind::list)) {
      for (size_t i = 0; i < value.size(); ++i) inner(std::to_string(i), value[i]);
    } else if (calls(value, "torch._utils._rebuild_parameter", 1)) {
      visit(value[1][0], name, depth + 1);
    } else if (calls(value, "torch._utils._rebuild_tensor_v2", 4)) {
      keep(tensor(name, value[1]));
    }
  }

  void keep(TorchTensor tensor) {
    constexpr int64_t kNode = 64;
    const std::string& key = tensor.storage.key;
    const size_t numbers = 2 * (tensor.shape.size() + tensor.strides.size());  // with those while they grow
    memory_ -= kNode + static_cast<int64_t>(sizeof(TorchTensors::value_type) + tensor.name.size() +
                                            2 * key.size() + numbers * sizeof(int64_t));
    if (memory_ < 0) fail("names more tensors than a file of this size should hold");
    tensors.emplace(key, std::move(tensor));
  }

  std::string key_text(PickleValue key) const {
    if (key.text().size() > kLongestName) fail("a name has more than {} characters", kLongestName);
    return key.is(Kind::integer) ? std::to_string(key.integer()) : std::string(key.text());
  }

  /// Whether a value is a call of `function` with at least so many arguments.
  static bool calls(PickleValue value, std::string_view function, size_t arguments) {
    return value.is(Kind::object) && value[0].text() == function && value[1].is(Kind::tuple) &&
           value[1].size() >= arguments;
  }

  TorchTensor tensor(const std::string& name, PickleValue arguments) const {
    if (!arguments[0].is(Kind::persistent)) fail("tensor '{}' has no storage", name);
    return {name, storage_of(arguments[0], where_), number(name, arguments[1]), numbers(name, arguments[2]),
            numbers(name, arguments[3])};
  }

  int64_t number(const std::string& name, PickleValue value) const {
    if (!value.is(Kind::integer) || value.integer() < 0)
      fail("tensor '{}' has a size, stride or offset that is no number from 0 up", name);
    return value.integer();
  }

  std::vector<int64_t> numbers(const std::string& name, PickleValue value) const {
    constexpr size_t kMostDimensions = 8;
    if (!value.is(Kind::tuple) || value.size() > kMostDimensions)
      fail("tensor '{}' has no shape and strides of at most {} dimensions", name, kMostDimensions);
    std::vector<int64_t> all;
    for (size_t i = 0; i < value.size(); ++i) all.push_back(number(name, value[i]));
    return all;
  }

  const std::string& where_;
  int64_t& memory_;  // left to take
  size_t visits_left_;
};

/// Copies a strided block, dimension by dimension, to `out`; returns where the next value goes.
std::byte* copy_strided(const TorchTensor& tensor, size_t dim, const std::byte* from, int64_t element,
                        std::byte* out) {
  if (dim == tensor.shape.size()) {
    std::memcpy(out, from, element);
    return out + element;
  }
  for (int64_t i = 0; i < tensor.shape[dim]; ++i)
    out = copy_strided(tensor, dim + 1, from + i * tensor.strides[dim] * element, element, out);
  return out;
}

bool contiguous(const TorchTensor& tensor) {
  int64_t expected = 1;
  for (size_t dim = tensor.shape.size(); dim-- > 0; expected *= tensor.shape[dim])
    if (tensor.shape[dim] != 1 && tensor.strides[dim] != expected) return false;
  return true;
}

}  // namespace

std::span<const std::string_view> torch_globals() {
  return kGlobals;
}

std::string storage_class(const std::string& dtype) {
  const auto found = std::ranges::find(kStorages, dtype, &StorageClass::dtype);
  require(found != std::end(kStorages), "PyTorch has no storage for type '{}'", dtype);
  return std::string(found->name);
}

TorchStorage storage_of(PickleValue persistent, const std::string& where) {
  // ("storage", class, key, location, elements), in the legacy form also (…, view), which is None.
  constexpr size_t kLongestKey = 100;  // a number of at most twenty digits
  const PickleValue id = persistent[0];
  if (id.is(Kind::tuple) && (id.size() == 5 || id.size() == 6) && id[0].text() == "storage" &&
      id[1].is(Kind::global) && id[2].is(Kind::text) && id[2].text().size() <= kLongestKey &&
      (id.size() == 5 || id[5].is(Kind::none))) {
    const std::string dtype = dtype_of(id[1].text());
    if (!dtype.empty()) return {std::string(id[2].text()), dtype};
  }
  throw InputError("{}: holds a storage under an id that PyTorch does not write", where);
}

TorchTensors tensors_of(const Pickle& pickle, int64_t& memory, const std::string& where) {
  return std::move(TensorWalk(pickle, memory, where).tensors);
}

HostTensor gather(const TorchTensor& tensor, std::span<const std::byte> storage, int64_t limit,
                  const std::string& where) {
  if (tensor.strides.size() != tensor.shape.size())
    throw InputError("{}: tensor '{}' has {} dimensions and {} strides", where, tensor.name,
                     tensor.shape.size(), tensor.strides.size());
  const int64_t element = element_size(tensor.storage.dtype);
  const int64_t stored = static_cast<int64_t>(storage.size()) / element;
  int64_t bytes = element, last = tensor.offset;
  bool inside = last < stored;
  for (size_t dim = 0; dim < tensor.shape.size(); ++dim) {
    const int64_t size = std::max<int64_t>(1, tensor.shape[dim]), stride = tensor.strides[dim];
    if (bytes > limit / size)
      throw InputError("{}: tensor '{}' of shape [{}] unpacks to more than a file of this size should hold",
                       where, tensor.name, fmt::join(tensor.shape, ", "));
    bytes *= size;
    inside = inside && (stride == 0 || size - 1 <= (stored - 1 - last) / stride);
    if (inside) last += (size - 1) * stride;
  }
  HostTensor result{tensor.storage.dtype, tensor.shape, {}};
  if (std::ranges::find(tensor.shape, 0) != tensor.shape.end()) return result;
  if (!inside)
    throw InputError("{}: tensor '{}' of shape [{}] reaches beyond the {} values of its storage: damaged",
                     where, tensor.name, fmt::join(tensor.shape, ", "), stored);
  result.bytes.resize(bytes);
  const std::byte* first = storage.data() + tensor.offset * element;
  if (contiguous(tensor))
    std::memcpy(result.bytes.data(), first, bytes);
  else
    copy_strided(tensor, 0, first, element, result.bytes.data());
  return result;
}

}  // namespace scrawl
