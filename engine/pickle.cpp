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
  PickleMachine(Pickle& pickle, std::string_view bytes, const PickleRules& rules, std::string_view where)
      : values_(pickle.values_), bytes_(bytes), rules_(rules), memory_(rules.memory), where_(where) {
    none_ = add(Kind::none);
    false_ = integer(Kind::boolean, 0);
    true_ = integer(Kind::boolean, 1);
    for (int i = 0; i < 256; ++i) small_[i] = integer(Kind::integer, i);
  }

  const PickleValue* run() {
    while (true) {
      const uint8_t code = byte();
      if (code == '.') return pop();
      step(code);
    }
  }
  size_t offset() const { return offset_; }
  size_t spent() const { return rules_.memory - memory_; }

 private:
  void step(uint8_t code) {
    switch (code) {
      case 0x80:
        return protocol();
      case 0x95:
        take(8);
        return;  // FRAME: its length is of no use when all bytes are at hand
      case '(':
        return append(marks_, stack_.size());
      case '0':
        pop();
        return;
      case '1':
        stack_.resize(pop_mark());
        return;
      case '2':
        return push(top());
      case 'N':
        return push(none_);
      case 0x88:
        return push(true_);
      case 0x89:
        return push(false_);
      case 'K':
        return push(small_[byte()]);
      case 'M':
        return push(integer(Kind::integer, number<uint16_t>()));
      case 'J':
        return push(integer(Kind::integer, number<int32_t>()));
      case 0x8a:
        return push(integer(Kind::integer, long_integer(byte())));
      case 'G':
        return push_real();
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
        return push(add(Kind::sequence));
      case ')':
        return push(add(Kind::sequence));
      case '}':
        return push(add(Kind::dict));
      case 't':
        return push_tuple(stack_.size() - pop_mark());
      case 0x85:
        return push_tuple(1);
      case 0x86:
        return push_tuple(2);
      case 0x87:
        return push_tuple(3);
      case 'a':
        return extend(Kind::sequence, 1);
      case 'e':
        return extend(Kind::sequence, stack_.size() - pop_mark());
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
        return push_state();
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
  /// Makes room for `count` more values, and spends what that takes.
  template <typename T>
  void make_room(std::vector<T>& vector, size_t count) {
    if (vector.capacity() - vector.size() >= count) return;
    const size_t before = vector.capacity(), after = std::max(vector.size() + count, 2 * before);
    spend(after * sizeof(T));
    vector.reserve(after);
    memory_ += before * sizeof(T);  // its old memory was there until now
  }
  template <typename T>
  void append(std::vector<T>& vector, T value) {
    make_room(vector, 1);
    vector.push_back(value);
  }

  PickleValue* add(Kind kind) {
    spend(sizeof(PickleValue) * 16 / 15);  // with the deque's own memory
    values_.emplace_back().kind = kind;
    return &values_.back();
  }
  PickleValue* integer(Kind kind, int64_t i) {
    PickleValue* value = add(kind);
    value->integer = i;
    return value;
  }

  PickleValue* add_text(Kind kind, std::string_view text) {
    if (text.size() > UINT32_MAX) fail("is followed by a text of {} bytes; too long", text.size());
    PickleValue* value = add(kind);
    value->begin = text.data();
    value->length = static_cast<uint32_t>(text.size());
    return value;
  }

  void push(PickleValue* value) { append(stack_, value); }
  void push_real() {  // big-endian, unlike all else
    PickleValue* value = add(Kind::real);
    value->real = std::bit_cast<double>(__builtin_bswap64(number<uint64_t>()));
    push(value);
  }
  void push_text(Kind kind, uint64_t length) { push(add_text(kind, take(length))); }
  void push_tuple(size_t count) {
    PickleValue* value = add(Kind::sequence);
    move_items(value, count);
    push(value);
  }

  /// Appends the top `count` values to the one below them.
  void extend(Kind kind, size_t count) {
    if (stack_.size() < base() + count + 1) fail("needs more values than there are: damaged");
    PickleValue* target = stack_[stack_.size() - count - 1];
    if (!target->is(kind) || (kind == Kind::dict && count % 2))
      fail("extends a value of another kind: damaged");
    move_items(target, count);
  }
  void move_items(PickleValue* target, size_t count) {
    if (stack_.size() < base() + count) fail("needs more values than there are: damaged");
    make_room(target->items, count);
    target->items.insert(target->items.end(), stack_.end() - count, stack_.end());
    stack_.resize(stack_.size() - count);
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::string full = fmt::format("{}.{}", module, name);
    const auto known = std::find(rules_.globals.begin(), rules_.globals.end(), full);
    if (known == rules_.globals.end()) {
      throw InputError("{}: refuses to call '{}', which such a file has no need of; nothing was executed",
                       where_, full.substr(0, 100));
    }
    push(add_text(Kind::global, *known));
  }
  void push_named_global() {
    const std::string_view module = line();
    push_global(module, line());
  }
  void push_stack_global() {
    const PickleValue *name = pop(), *module = pop();
    if (!name->is(Kind::text) || !module->is(Kind::text)) fail("names a global by something other than text");
    push_global(module->text(), name->text());
  }
  void push_call() {
    const PickleValue *arguments = pop(), *callable = pop();
    if (!callable->is(Kind::global)) fail("calls something other than a global; refused");
    if (callable->text() == "collections.OrderedDict" && arguments->items.empty())
      return push(add(Kind::dict));
    push_with(Kind::object, {callable, arguments});
  }
  void push_persistent() {
    if (!rules_.persistent_ids) fail("asks for {}, which plain data does not need; refused", "BINPERSID");
    push_with(Kind::persistent, {pop()});
  }
  void push_with(Kind kind, std::initializer_list<const PickleValue*> items) {
    PickleValue* value = add(kind);
    make_room(value->items, items.size());
    value->items = items;
    push(value);
  }

  /// What an object is built with.  Attributes of a dictionary, where PyTorch keeps versions of modules, are
  /// left out.
  void push_state() {
    const bool to_dict = stack_.size() >= base() + 2 && stack_[stack_.size() - 2]->is(Kind::dict);
    if (!to_dict) return extend(Kind::object, 1);
    pop();
  }

  void protocol() {
    const int version = byte();
    if (version < 2 || version > 5) fail("asks for pickle protocol {}; 2 to 5 are known", version);
  }

  /// Python numbers memo entries in turn, from 0 or, in its second version, from 1.
  void memoize(size_t index) {
    if (index > memo_.size() + 1) fail("stores under the number {}: damaged", index);
    PickleValue* value = top();
    while (memo_.size() <= index) append<PickleValue*>(memo_, nullptr);
    memo_[index] = value;
  }
  void recall(size_t index) {
    if (index >= memo_.size() || !memo_[index])
      fail("recalls the number {}, which is not there: damaged", index);
    push(memo_[index]);
  }

  /// Values below the last mark are out of reach until it is removed.
  size_t base() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleValue* top() const {
    if (stack_.size() <= base()) fail("needs a value that is not there: damaged");
    return stack_.back();
  }
  PickleValue* pop() {
    PickleValue* value = top();
    stack_.pop_back();
    return value;
  }
  size_t pop_mark() {
    if (marks_.empty()) fail("needs a mark that is not there: damaged");
    const size_t mark = marks_.back();
    marks_.pop_back();
    return mark;
  }

  std::deque<PickleValue>& values_;
  std::string_view bytes_;
  const PickleRules& rules_;
  size_t memory_;  // left to spend
  std::string_view where_;
  size_t offset_ = 0;
  std::vector<PickleValue*> stack_, memo_;
  std::vector<size_t> marks_;
  PickleValue *none_, *false_, *true_;
  std::array<PickleValue*, 256> small_;  // shared: integers below 256 are most of them
};

Pickle::Pickle(std::string_view bytes, const PickleRules& rules, std::string_view where) {
  PickleMachine machine(*this, bytes, rules, where);
  root_ = machine.run();
  size_ = machine.offset();
  memory_ = machine.spent();
}

}  // namespace scrawl
