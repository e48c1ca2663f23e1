#include "data/pickle.h"

#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

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
    expect_input_error([&, &bytes = stream] { Pickle(bytes, {}, "the stream"); }, {"the stream", part});
  }
}

TEST(Pickle, DeepAndCyclicValuesAreNoTrouble) {
  // A hundred thousand lists, each in the one before it; what follows the end makes room for so many values.
  const std::string deep =
      std::string(100000, ']') + std::string(99999, 'a') + "." + std::string(100000, 'N');
  EXPECT_NO_THROW(Pickle(deep, {}, "deep"));
  const Pickle cycle(std::string_view("]q\0h\0a.", 7), {}, "cycle");
  ASSERT_EQ(cycle.root().items.size(), 1);
  EXPECT_EQ(cycle.root().items[0], &cycle.root());
}

TEST(Pickle, DenseStreamsAreRefusedBeforeTheyCostMuch) {
  expect_input_error([] { Pickle(std::string(1 << 20, '}'), {}, "dense"); }, {"dense", "more values"});
}

}  // namespace
}  // namespace scrawl
