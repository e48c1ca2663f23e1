#pragma once
// A reader of Python pickles (protocols 2 to 5) that looks and never acts: calls that the stream asks for are
// kept as data, and every global must be on the caller's list.  Opcodes: CPython, Lib/pickletools.py.
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

namespace scrawl {

struct PickleValue {
  enum class Kind : uint8_t { none, boolean, integer, real, text, bytes, sequence, dict, global, object };
  Kind kind = Kind::none;
  union {
    int64_t integer = 0;  // also boolean
    double real;
  };
  std::string_view text;  // text (UTF-8), bytes, or "module.name" of a global
  /// Sequence (tuple or list): its items.  Dict: key, value, key, value …
  /// Object: the global it calls, the tuple of arguments, then every state it is built with.
  std::vector<const PickleValue*> items;

  bool is(Kind k) const { return kind == k; }
};

/// The values of one pickle, which may share and even contain each other: walk them with a bounded depth.
/// Memory is bounded by a small multiple of the stream.  `bytes` and `globals` must outlive the object.
class Pickle {
 public:
  /// Throws InputError, starting with `where`, for a damaged stream, an opcode that plain data does not need,
  /// or a global that is not one of `globals` ("module.name").
  Pickle(std::string_view bytes, std::span<const std::string_view> globals, std::string_view where);

  const PickleValue& root() const { return *root_; }

 private:
  friend class PickleMachine;
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
};

}  // namespace scrawl
