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
           {"c" + std::string(200, 'x') + "\nx\n.", std::string(100, 'x')},
           {"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"},
           {"NN\x86)R.", "calls something other"},
           {"]u.", "mark"},
           {")Na.", "another kind"},
           {"])b.", "no object"},
           {"ctorch\nSize\n)R)b)b.", "again"},
           {"(t0.", "not there"},
           {"h\x05.", "recalls"},
           {"Nr\xff\xff\xff\x7f.", "stores"},
           {"X\xff\xff\xff\x7fx.", "cut short"},
           {"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", "cut short"},
           {"", "cut short"}}) {
    SCOPED_TRACE(part);
    static constexpr std::string_view globals[] = {"torch.Size"};
    expect_input_error([&, &bytes = stream] { read(bytes, globals); }, {"the stream", part});
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
  ASSERT_EQ(pickle.root().size(), 2);
  EXPECT_EQ(pickle.root()[0].text(), "a");
  EXPECT_EQ(pickle.root()[1].integer(), 7);
}

TEST(Pickle, IntegersAreWholeAndSigned) {
  const std::string_view stream("(J\xff\xff\xff\xffM\0\1K\xff\x8a\6\1\0\0\0\0\x80\x88t.", 24);
  const Pickle pickle = read(stream);
  ASSERT_EQ(pickle.root().size(), 5);
  const int64_t expected[] = {-1, 256, 255, 1 - (int64_t{1} << 47), 1};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(pickle.root()[i].integer(), expected[i]);
}

TEST(Pickle, ObjectsHoldTheirCallAndWhatTheyAreBuiltWith) {
  static constexpr std::string_view globals[] = {"torch.Size"};
  const Pickle pickle = read("ctorch\nSize\nq\1)Rh\1)RK\7b\x86.", globals);
  const PickleValue bare = pickle.root()[0], built = pickle.root()[1];
  EXPECT_EQ(built[0].text(), "torch.Size");
  EXPECT_TRUE(built[1].is(PickleValue::Kind::tuple));
  EXPECT_EQ(built[2].integer(), 7);
  EXPECT_TRUE(bare[2].is(PickleValue::Kind::none));
  EXPECT_THROW(bare[3], std::out_of_range);
}

TEST(Pickle, GrowingListsKeepTheirItems) {
  std::string stream = "]";
  for (int i = 0; i < 3000; ++i) stream += {'(', 'K', static_cast<char>(i % 251), 'K', '\1', 'e'};
  const Pickle pickle = read(stream + ".");
  ASSERT_EQ(pickle.root().size(), 6000);
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(pickle.root()[2 * i].integer(), i % 251);
}

TEST(Pickle, PersistentIdsAreKeptWhereTheyAreAllowed) {
  const std::string stream = "\x80\x02U\x01xQ.more";
  const Pickle pickle(stream, {.persistent_ids = true, .memory = ample_memory(stream.size())}, "ids");
  ASSERT_TRUE(pickle.root().is(PickleValue::Kind::persistent));
  EXPECT_EQ(pickle.root()[0].text(), "x");
  ASSERT_EQ(pickle.persistent_count(), 1);
  EXPECT_EQ(pickle.persistent(0), pickle.root());
  EXPECT_EQ(pickle.size(), stream.size() - 4);
}

TEST(Pickle, DeepAndCyclicValuesAreNoTrouble) {
  // A hundred thousand lists, each in the one before it; what follows the end makes room for so many values.
  const std::string deep =
      std::string(100000, ']') + std::string(99999, 'a') + "." + std::string(2000000, 'N');
  EXPECT_NO_THROW(read(deep));
  const Pickle cycle = read(std::string_view("]q\0h\0a.", 7));
  ASSERT_EQ(cycle.root().size(), 1);
  EXPECT_EQ(cycle.root()[0], cycle.root());
}

TEST(Pickle, DenseStreamsAreRefusedBeforeTheyCostMuch) {
  for (const char* dense : {"}", "N", "(", "}\x94"}) {
    std::string stream = "}";
    while (stream.size() < 1 << 20) stream += dense;
    SCOPED_TRACE(dense);
    expect_input_error([&] { Pickle(stream, {.globals = {}, .memory = 3 * stream.size()}, "the stream"); },
                       {"the stream", "memory"});
  }
}

TEST(Pickle, ShortTuplesTakeLittleMoreThanTheStream) {
  std::string stream = "](";
  for (int i = 0; i < 100000; ++i) stream += "K\1\x85";
  const Pickle pickle = read(stream + "e.");
  EXPECT_EQ(pickle.root().size(), 100000);
  EXPECT_LT(pickle.memory(), 5 * stream.size());
}

}  // namespace
}  // namespace scrawl
