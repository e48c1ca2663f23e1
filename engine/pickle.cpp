#include "engine/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "engine/error.h"

namespace scrawl {

namespace {

using Kind = PickleValue::Kind;

/// Names of the opcodes that exist but aren't honoured, for the message that refuses them.
std::string opcode_name(uint8_t code) {
  static constexpr std::pair<uint8_t, const char*> names[] = {
      {'P', "PERSID"},     {'Q', "BINPERSID"},  {'i', "INST"},        {'o', "OBJ"},
      {'I', "INT"},        {'L', "LONG"},       {'F', "FLOAT"},       {'S', "STRING"},
      {'V', "UNICODE"},    {'p', "PUT"},        {'g', "GET"},         {'d', "DICT"},
      {'l', "LIST"},       {0x81, "NEWOBJ"},    {0x82, "EXT1"},       {0x83, "EXT2"},
      {0x84, "EXT4"},      {0x8b, "LONG4"},     {0x8f, "EMPTY_SET"},  {0x90, "ADDITEMS"},
      {0x91, "FROZENSET"}, {0x92, "NEWOBJ_EX"}, {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"}};
  for (auto [known, name] : names) {
    if (known == code) return name;
  }
  return fmt::format("0x{:02x}", code);
}

}  // namespace

/// Runs the stack machine of a pickle over values that only record what the stream says.
class PickleMachine {
 public:
  PickleMachine(Pickle& pickle, const PickleRules& rules, std::string_view where)
      : pickle_(pickle),
        words_(pickle.words_),
        bytes_(pickle.bytes_),
        rules_(rules),
        // A sixteenth is for what deques take to find their blocks.
        all_memory_(std::min(rules.memory, kWord * UINT32_MAX) / 16 * 15),
        memory_(all_memory_),
        where_(where) {
    none_ = add(Kind::none);
    false_ = add_integer(Kind::boolean, 0);
    true_ = add_integer(Kind::boolean, 1);
    for (int i = 0; i < std::ssize(small_); ++i) small_[i] = add_integer(Kind::integer, i);
  }

  /// The place of the root.
  uint32_t run() {
    while (true) {
      const uint8_t code = byte();
      if (code == '.') return pop();
      step(code);
    }
  }
  size_t offset() const { return offset_; }
  /// What stays when the machine is gone.
  size_t memory_of_values() const {
    const size_t own = kWord * (stack_.size() + memo_.size() + marks_.size());
    return (all_memory_ - memory_ - own) / 15 * 16;
  }

 private:
  void step(uint8_t code) {
    switch (code) {
      case 0x80:
        return protocol();
      case 0x95:
        take(8);
        return;  // FRAME: its length is of no use when all bytes are at hand
      case '(':
        return append(marks_, static_cast<uint32_t>(stack_.size()));
      case '0':
        pop();
        return;
      case '1':
        return drop(stack_.size() - pop_mark());
      case '2':
        return push(top());
      case 'N':
        return push(none_);
      case 0x88:
        return push(true_);
      case 0x89:
        return push(false_);
      case 'K':
        return push_integer(byte());
      case 'M':
        return push_integer(number<uint16_t>());
      case 'J':
        return push_integer(number<int32_t>());
      case 0x8a:
        return push_integer(long_integer(byte()));
      case 'G':
        take(8);
        return push(add(Kind::real));
      case 0x8c:
        return push_text(Kind::text, byte());
      case 'X':
        return push_text(Kind::text, number<uint32_t>());
      case 0x8d:
        return push_text(Kind::text, number<uint64_t>());
      case 'C':
      case 'U':
        return push_text(Kind::bytes, byte());
      case 'B':
      case 'T':
        return push_text(Kind::bytes, number<uint32_t>());
      case 0x8e:
        return push_text(Kind::bytes, number<uint64_t>());
      case ']':
        return push(add_growing(Kind::list));
      case '}':
        return push(add_growing(Kind::dict));
      case ')':
        return push_tuple(0);
      case 't':
        return push_tuple(stack_.size() - pop_mark());
      case 0x85:
        return push_tuple(1);
      case 0x86:
        return push_tuple(2);
      case 0x87:
        return push_tuple(3);
      case 'a':
        return extend(Kind::list, 1);
      case 'e':
        return extend(Kind::list, stack_.size() - pop_mark());
      case 's':
        return extend(Kind::dict, 2);
      case 'u':
        return extend(Kind::dict, stack_.size() - pop_mark());
      case 'q':
        return memoize(byte());
      case 'r':
        return memoize(number<uint32_t>());
      case 0x94:
        return memoize(memo_.size());
      case 'h':
        return recall(byte());
      case 'j':
        return recall(number<uint32_t>());
      case 'c':
        return push_named_global();
      case 0x93:
        return push_stack_global();
      case 'R':
        return push_call();
      case 'b':
        return take_state();
      case 'Q':
        return push_persistent();
      default:
        fail("asks for {}, which plain data does not need; refused", opcode_name(code));
    }
  }

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw InputError("{}: byte {} of the pickle {}", where_, offset_,
                     fmt::format(format, std::forward<Args>(args)...));
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - offset_) fail("is followed by too little: cut short or damaged");
    offset_ += count;
    return bytes_.substr(offset_ - count, count);
  }
  uint8_t byte() { return static_cast<uint8_t>(take(1)[0]); }

  /// Pickles are little-endian, and so is every machine that this runs on.
  template <typename T>
  T number() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  int64_t long_integer(uint8_t count) {
    if (count > 8) fail("holds an integer of {} bytes; at most 8 are expected", count);
    const std::string_view digits = take(count);
    int64_t value = count && digits.back() < 0 ? -1 : 0;
    std::memcpy(&value, digits.data(), count);
    return value;
  }

  std::string_view line() {
    const size_t end = bytes_.find('\n', offset_);
    if (end == std::string_view::npos) fail("is followed by no end of line: cut short or damaged");
    const std::string_view text = take(end - offset_);
    take(1);
    return text;
  }

  void spend(size_t bytes) {
    if (bytes > memory_) fail("makes the values take more memory than those of a file of its size may");
    memory_ -= bytes;
  }
  void append(Pickle::Words& words, uint32_t word) {
    spend(kWord);
    words.push_back(word);
  }
  /// Makes room for `count` more places, and spends what that takes.
  void make_room(std::vector<uint32_t>& places, size_t count) {
    if (places.capacity() - places.size() >= count) return;
    const size_t before = places.capacity(), after = std::max(places.size() + count, before + before / 2);
    spend(after * kWord);
    places.reserve(after);
    memory_ += before * kWord;  // its old memory was there until now
  }

  PickleValue value(uint32_t place) const { return {pickle_, place}; }

  /// The place of a new value, whose words the caller appends after the first.
  uint32_t add(Kind kind, size_t size = 0) {
    if (size > UINT32_MAX >> PickleValue::kKindBits)
      fail("makes a value of {} bytes or items; too large", size);
    const auto place = static_cast<uint32_t>(words_.size());
    append(words_, static_cast<uint32_t>(size << PickleValue::kKindBits) | static_cast<uint32_t>(kind));
    return place;
  }
  uint32_t add_integer(Kind kind, int64_t i) {
    const uint32_t place = add(kind);
    append(words_, static_cast<uint32_t>(i));
    append(words_, static_cast<uint32_t>(i >> 32));
    return place;
  }
  uint32_t add_holding(Kind kind, std::initializer_list<uint32_t> places) {
    const uint32_t place = add(kind, places.size());
    for (const uint32_t held : places) append(words_, held);
    return place;
  }
  uint32_t add_growing(Kind kind) {
    const uint32_t place = add(kind);
    append(words_, static_cast<uint32_t>(pickle_.lists_.size()));
    spend(sizeof(std::vector<uint32_t>));
    pickle_.lists_.emplace_back();
    return place;
  }

  void push(uint32_t place) { append(stack_, place); }
  void push_integer(int64_t i) {
    push(i >= 0 && i < std::ssize(small_) ? small_[i] : add_integer(Kind::integer, i));
  }
  void push_text(Kind kind, uint64_t length) {
    const size_t begin = offset_;
    take(length);
    if (begin > UINT32_MAX) fail("ends a text that begins after 4 GB; too far");
    const uint32_t place = add(kind, length);
    append(words_, static_cast<uint32_t>(begin));
    push(place);
  }
  void push_tuple(size_t count) {
    need(count);
    const uint32_t place = add(Kind::tuple, count);
    spend(count * kWord);
    words_.insert(words_.end(), from_top(count), stack_.cend());
    drop(count);
    push(place);
  }

  /// Appends the top `count` values to the list or dictionary below them.
  void extend(Kind kind, size_t count) {
    need(count + 1);
    const PickleValue target = value(*from_top(count + 1));
    if (!target.is(kind) || (kind == Kind::dict && count % 2))
      fail("extends a value of another kind: damaged");
    std::vector<uint32_t>& items = pickle_.lists_[target.word(1)];
    make_room(items, count);
    items.insert(items.end(), from_top(count), stack_.cend());
    drop(count);
  }

  void push_global(std::string_view module, std::string_view name) {
    constexpr size_t kLongest = 100;  // more than any on a list; a copy of all could be as long as the file
    const std::string full = fmt::format("{}.{}", module.substr(0, kLongest), name.substr(0, kLongest));
    const auto known = std::find(rules_.globals.begin(), rules_.globals.end(), full);
    if (known == rules_.globals.end()) {
      throw InputError("{}: refuses to call '{}', which such a file has no need of; nothing was executed",
                       where_, full.substr(0, kLongest));
    }
    push(add(Kind::global, static_cast<size_t>(known - rules_.globals.begin())));
  }
  void push_named_global() {
    const std::string_view module = line();
    push_global(module, line());
  }
  void push_stack_global() {
    const PickleValue name = value(pop()), module = value(pop());
    if (!name.is(Kind::text) || !module.is(Kind::text)) fail("names a global by something other than text");
    push_global(module.text(), name.text());
  }
  void push_call() {
    const uint32_t arguments = pop(), callable = pop();
    if (!value(callable).is(Kind::global)) fail("calls something other than a global; refused");
    if (value(callable).text() == "collections.OrderedDict" && value(arguments).size() == 0)
      return push(add_growing(Kind::dict));
    push(add_holding(Kind::object, {callable, arguments, none_}));
  }
  void push_persistent() {
    if (!rules_.persistent_ids) fail("asks for {}, which plain data does not need; refused", "BINPERSID");
    const uint32_t place = add_holding(Kind::persistent, {pop()});
    make_room(pickle_.persistent_, 1);
    pickle_.persistent_.push_back(place);
    push(place);
  }

  /// What an object is built with.  Attributes of a dictionary, where PyTorch keeps versions of modules, are
  /// left out.
  void take_state() {
    need(2);
    const uint32_t state = pop();
    const PickleValue target = value(top());
    if (target.is(Kind::dict)) return;
    if (!target.is(Kind::object)) fail("builds a value that is no object: damaged");
    if (!target[2].is(Kind::none)) fail("builds an object again: damaged");
    words_[top() + 3] = state;
  }

  void protocol() {
    const int version = byte();
    if (version < 2 || version > 5) fail("asks for pickle protocol {}; 2 to 5 are known", version);
  }

  /// Python numbers memo entries in turn, from 0 or, in its second version, from 1.
  void memoize(size_t index) {
    if (index > memo_.size() + 1) fail("stores under the number {}: damaged", index);
    const uint32_t place = top();
    while (memo_.size() <= index) append(memo_, kNothing);
    memo_[index] = place;
  }
  void recall(size_t index) {
    if (index >= memo_.size() || memo_[index] == kNothing)
      fail("recalls the number {}, which is not there: damaged", index);
    push(memo_[index]);
  }

  /// Values below the last mark are out of reach until it is removed.
  size_t base() const { return marks_.empty() ? 0 : marks_.back(); }
  void need(size_t count) const {
    if (stack_.size() < base() + count) fail("needs more values than there are: damaged");
  }
  Pickle::Words::const_iterator from_top(size_t count) const {
    return stack_.end() - static_cast<ptrdiff_t>(count);
  }
  uint32_t top() const {
    if (stack_.size() <= base()) fail("needs a value that is not there: damaged");
    return stack_.back();
  }
  void drop(size_t count) {
    stack_.resize(stack_.size() - count);
    memory_ += count * kWord;
  }
  uint32_t pop() {
    const uint32_t place = top();
    drop(1);
    return place;
  }
  size_t pop_mark() {
    if (marks_.empty()) fail("needs a mark that is not there: damaged");
    const size_t mark = marks_.back();
    marks_.pop_back();
    memory_ += kWord;
    return mark;
  }

  static constexpr size_t kWord = sizeof(uint32_t);
  static constexpr uint32_t kNothing = UINT32_MAX;  // in the memo

  Pickle& pickle_;
  Pickle::Words& words_;
  std::string_view bytes_;
  const PickleRules& rules_;
  const size_t all_memory_;
  size_t memory_;  // left to spend
  std::string_view where_;
  size_t offset_ = 0;
  Pickle::Words stack_, memo_, marks_;  // places of values; of marks, heights of the stack
  uint32_t none_, false_, true_;
  std::array<uint32_t, 256> small_;  // shared: integers below 256 are most of them
};

Pickle::Pickle(std::string_view bytes, const PickleRules& rules, std::string_view where)
    : bytes_(bytes), globals_(rules.globals) {
  PickleMachine machine(*this, rules, where);
  root_ = machine.run();
  bytes_ = bytes.substr(0, machine.offset());
  memory_ = machine.memory_of_values();
}

}  // namespace scrawl
