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
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,
    sequence,
    dict,
    global,
    object,
    persistent
  };
  Kind kind = Kind::none;
  uint32_t length = 0;  // of the text
  union {
    int64_t integer = 0;  // also boolean
    double real;
    const char* begin;  // of the text
  };
  /// Sequence (tuple or list): its items.  Dict: key, value, key, value …
  /// Object: the global it calls, the tuple of arguments, then every state it is built with.
  /// Persistent: the id under which the value lies outside the pickle.
  std::vector<const PickleValue*> items;

  bool is(Kind k) const { return kind == k; }
  /// Text (UTF-8), bytes, or "module.name" of a global; empty for any other value.
  std::string_view text() const { return {length ? begin : "", length}; }
};

/// What a pickle may hold, and cost.
struct PickleRules {
  /// "module.name" of what it may name.  Of these, collections.OrderedDict called without arguments is a
  /// dict.
  std::span<const std::string_view> globals;
  bool persistent_ids = false;
  size_t memory;  // bytes that its values may take, beside the stream itself
};

/// The values of one pickle, which may share and even contain each other: walk them with a bounded depth.
/// The bytes and the globals must outlive the object.
class Pickle {
 public:
  /// Reads the pickle that `bytes` begin with.  Throws InputError, starting with `where`, for a damaged
  /// stream, an opcode that plain data does not need, or what the rules do not allow.
  Pickle(std::string_view bytes, const PickleRules& rules, std::string_view where);

  const PickleValue& root() const { return *root_; }
  /// All values, in the order in which they begin.
  const std::deque<PickleValue>& values() const { return values_; }
  /// The length of the stream; what follows it is no part of it.
  size_t size() const { return size_; }
  /// What its values took of the memory that the rules allow.
  size_t memory() const { return memory_; }

 private:
  friend class PickleMachine;
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
  size_t size_ = 0, memory_ = 0;
};

}  // namespace scrawl
