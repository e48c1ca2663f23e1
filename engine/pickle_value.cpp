#include <stdexcept>

#include "engine/pickle.h"

namespace scrawl {

uint32_t PickleValue::word(size_t i) const {
  return pickle_->words_[place_ + i];
}

PickleValue::Kind PickleValue::kind() const {
  return static_cast<Kind>(word(0) & ((1 << kKindBits) - 1));
}

std::string_view PickleValue::text() const {
  switch (kind()) {
    case Kind::text:
    case Kind::bytes:
      return pickle_->bytes_.substr(word(1), size_in_word());
    case Kind::global:
      return pickle_->globals_[size_in_word()];
    default:
      return {};
  }
}

int64_t PickleValue::integer() const {
  if (!is(Kind::integer) && !is(Kind::boolean)) return 0;
  return static_cast<int64_t>(uint64_t{word(2)} << 32 | word(1));
}

size_t PickleValue::size() const {
  switch (kind()) {
    case Kind::list:
    case Kind::dict:
      return pickle_->lists_[word(1)].size();
    case Kind::tuple:
    case Kind::object:
    case Kind::persistent:
      return size_in_word();
    default:
      return 0;
  }
}

PickleValue PickleValue::operator[](size_t i) const {
  if (i >= size()) throw std::out_of_range("a value of a pickle holds fewer");
  const bool grows = is(Kind::list) || is(Kind::dict);
  return {*pickle_, grows ? pickle_->lists_[word(1)][i] : word(1 + i)};
}

}  // namespace scrawl
