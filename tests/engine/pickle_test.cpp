#include "engine/pickle.h"

#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

/// What the values of a stream of this length may take here.
constexpr size_t ample_memory(size_t length) {
  return (size_t{64} << 10) + 7 * length;
}

Pickle read(std::string_view bytes, std::span<const std::string_view> globals = {}) {
  return Pickle(bytes, {.globals = globals, .memory = ample_memory(bytes.size())}, "the stream");
}

TEST(Pickle, RefusesOpcodesByName) {
  for (const auto& [stream, part] : std::initializer_list<std::pair<std::string, std::string>>{
           {"\x80\x02)\x81.", "NEWOBJ"},
           {"\x80\x02U\x01xQ.", "BINPERSID"},
           {"(iposix\nsystem\n.", "INST"},
           {"\x80\x09N.", "protocol 9"},
           {"\x80\x02"
            "cbuiltins\neval\n.",
            "builtins.eval"},
           {"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"},
           {"NN\x86)R.", "calls something other"},
           {"]u.", "mark"},
           {"(t0.", "not there"},
           {"h\x05.", "recalls"},
           {"Nr\xff\xff\xff\x7f.", "stores"},
           {"X\xff\xff\xff\x7fx.", "cut short"},
           {"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", "cut short"},
           {"", "cut short"}}) {
    SCOPED_TRACE(part);
    expect_input_error([&, &bytes = stream] { read(bytes); }, {"the stream", part});
  }
}

TEST(Pickle, OrderedDictsAreDictsWithoutTheirAttributes) {
  static constexpr std::string_view globals[] = {"collections.OrderedDict"};
  const std::string stream =
      "\x80\x02"
      "ccollections\nOrderedDict\n)R(U\x01"
      "aK\x07u}U\x01"
      "bNsb.";
  const Pickle pickle = read(stream, globals);
  ASSERT_TRUE(pickle.root().is(PickleValue::Kind::dict));
  ASSERT_EQ(pickle.root().items.size(), 2);
  EXPECT_EQ(pickle.root().items[0]->text(), "a");
  EXPECT_EQ(pickle.root().items[1]->integer, 7);
}

TEST(Pickle, PersistentIdsAreKeptWhereTheyAreAllowed) {
  const std::string stream = "\x80\x02U\x01xQ.more";
  const Pickle pickle(stream, {.persistent_ids = true, .memory = ample_memory(stream.size())}, "ids");
  ASSERT_TRUE(pickle.root().is(PickleValue::Kind::persistent));
  EXPECT_EQ(pickle.root().items.at(0)->text(), "x");
  EXPECT_EQ(pickle.size(), stream.size() - 4);
}

TEST(Pickle, DeepAndCyclicValuesAreNoTrouble) {
  // A hundred thousand lists, each in the one before it; what follows the end makes room for so many values.
  const std::string deep =
      std::string(100000, ']') + std::string(99999, 'a') + "." + std::string(2000000, 'N');
  EXPECT_NO_THROW(read(deep));
  const Pickle cycle = read(std::string_view("]q\0h\0a.", 7));
  ASSERT_EQ(cycle.root().items.size(), 1);
  EXPECT_EQ(cycle.root().items[0], &cycle.root());
}

TEST(Pickle, DenseStreamsAreRefusedBeforeTheyCostMuch) {
  for (const char* dense : {"}", "N", "(", "}\x94"}) {
    std::string stream = "}";
    while (stream.size() < 1 << 20) stream += dense;
    SCOPED_TRACE(dense);
    expect_input_error([&] { read(stream); }, {"the stream", "memory"});
  }
}

}  // namespace
}  // namespace scrawl
