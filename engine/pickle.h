#pragma once
// A reader of Python pickles (protocols 2 to 5) that looks and never acts: calls that the stream asks for are
// kept as data, and every global must be on the caller's list.  Opcodes: CPython, Lib/pickletools.py.
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

namespace scrawl {

class Pickle;

/// Refers to one value of a pickle, for as long as that stays where it is.
class PickleValue {
 public:
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,  // without its number, which no reader has asked for
    text,
    bytes,
    tuple,
    list,
    dict,
    global,
    object,
    persistent
  };

  Kind kind() const;
  bool is(Kind k) const { return kind() == k; }
  /// Text (UTF-8), bytes, or "module.name" of a global; empty for any other value.
  std::string_view text() const;
  /// Also of a boolean; 0 for any other value.
  int64_t integer() const;

  /// How many values it holds.  Tuple, list: its items.  Dict: key, value, key, value …
  /// Object: the global it calls, the tuple of arguments, and the state it is built with or none.
  /// Persistent: the id under which the value lies outside the pickle.
  size_t size() const;
  PickleValue operator[](size_t i) const;

  bool operator==(const PickleValue&) const = default;  // one and the same

 private:
  friend class Pickle;
  friend class PickleMachine;
  static constexpr int kKindBits = 4;  // of the first word, below the size
  PickleValue(const Pickle& pickle, uint32_t place) : pickle_(&pickle), place_(place) {}
  uint32_t word(size_t i) const;
  uint32_t size_in_word() const { return word(0) >> kKindBits; }

  const Pickle* pickle_;
  uint32_t place_;  // of its first word
};

/// What a pickle may hold, and cost.
struct PickleRules {
  /// "module.name" of what it may name.  Of these, collections.OrderedDict called without arguments is a
  /// dict.
  std::span<const std::string_view> globals;
  bool persistent_ids = false;
  size_t memory;  // bytes that reading it may take, beside the stream itself
};

/// The values of one pickle, which may share and even contain each other: walk them with a bounded depth.
/// The bytes and the globals must outlive the object.
class Pickle {
 public:
  /// Reads the pickle that `bytes` begin with.  Throws InputError, starting with `where`, for a damaged
  /// stream, an opcode that plain data does not need, or what the rules do not allow.
  Pickle(std::string_view bytes, const PickleRules& rules, std::string_view where);

  PickleValue root() const { return {*this, root_}; }
  /// The values that lie outside, in the order in which they are named.
  size_t persistent_count() const { return persistent_.size(); }
  PickleValue persistent(size_t i) const { return {*this, persistent_[i]}; }
  /// The length of the stream; what follows it is no part of it.
  size_t size() const { return bytes_.size(); }
  /// What its values take of the memory that the rules allow.
  size_t memory() const { return memory_; }

 private:
  friend class PickleMachine;
  friend class PickleValue;
  using Words = std::deque<uint32_t>;  // which grows without a copy

  std::string_view bytes_;
  std::span<const std::string_view> globals_;
  // A stream refers to an earlier value in two bytes: values that do little else have to be short, too.
  // The first word of a value is its kind and a size; then come, of
  //   boolean, integer           the number, in two words
  //   text, bytes                where they begin in the stream; the size is their length
  //   tuple, object, persistent  the places of the values that they hold
  //   list, dict                 a place in lists_
  //   none, real, global         nothing; the size of a global is its place in globals_
  Words words_;
  std::deque<std::vector<uint32_t>> lists_;  // places of the values in what grows
  std::vector<uint32_t> persistent_;         // places of values of that kind
  uint32_t root_ = 0;
  size_t memory_ = 0;
};

}  // namespace scrawl
