#include "data/npy.h"

#include <gtest/gtest.h>

#include "data/pickle.h"
#include "engine/files.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

const std::filesystem::path kFixtures = SCRAWL_TEST_DIR "/fixtures";

std::string npy_header(const std::string& dtype, const std::string& shape) {
  const std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}\n", dtype, shape);
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(text.size()) + '\0' + text;
}

TEST(Tags, ReadsEveryProtocol) {
  for (const std::string name : {"cls_labels_p2", "cls_labels_p3", "cls_labels_p4"}) {
    SCOPED_TRACE(name);
    const Tags tags = read_tags(kFixtures / (name + ".npy"));
    const SafeTensors expected = read_safetensors(kFixtures / (name + ".safetensors"));
    EXPECT_EQ(tags.size(), expected.tensors.size());
    for (const auto& [id, tensor] : expected.tensors) {
      ASSERT_TRUE(tags.contains(id)) << id;
      EXPECT_EQ(tags.at(id), tensor.floats()) << id;
    }
  }
}

TEST(Tags, RefusesToCallAnything) {
  std::filesystem::remove("/tmp/scrawl_was_here");
  expect_input_error([] { read_tags(kFixtures / "hostile.npy"); }, {"hostile.npy", "posix.system"});
  EXPECT_FALSE(std::filesystem::exists("/tmp/scrawl_was_here"));
}

/// A dictionary with one entry, as Python writes it in protocol 2: `key` and `order` are spliced in.
std::string dictionary(const std::string& key, char order, const std::string& data) {
  auto array = [](const std::string& shape, const std::string& type, char byte_order,
                  const std::string& content) {
    return std::string("cnumpy.core.multiarray\n_reconstruct\n") + "cnumpy\nndarray\n" +
           std::string("K\0\x85", 3) + "U\x01" + "b\x87R(K\x01" + shape + "cnumpy\ndtype\n" + "U\x02" + type +
           "\x89\x88\x87R(K\x03U\x01" + byte_order + "NNNJ\xFF\xFF\xFF\xFFJ\xFF\xFF\xFF\xFFK?tb\x89" +
           content + "tb";
  };
  const std::string vector = array("K\x02\x85", "f4", order, "U\x08" + data);
  return npy_header("|O", "()") + "\x80\x02" + array(")", "O8", '|', "]}" + key + vector + "sa") + ".";
}

Tags read_dictionary(const std::string& bytes) {
  const TemporaryDirectory directory;
  write_bytes(directory.path / "tags.npy", bytes);
  return read_tags(directory.path / "tags.npy");
}

const std::string kLittle("\0\0\x80\x3f\0\0\0\x40", 8), kBig("\x3f\x80\0\0\x40\0\0\0", 8);  // 1 and 2

TEST(Tags, HonoursByteOrder) {
  const std::vector<float> expected{1, 2};
  EXPECT_EQ(read_dictionary(dictionary("U\x01x", '<', kLittle)).at("x"), expected);
  EXPECT_EQ(read_dictionary(dictionary("U\x01x", '>', kBig)).at("x"), expected);
}

TEST(Tags, IntegerKeysAreVocIds) {
  const std::string number("\x20\x64\xa0\x77", 4);  // 2007000096
  const std::string scalar =
      "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02i4\x89\x88\x87R(K\x03U\x01<NNNJ"
      "\xFF\xFF\xFF\xFFJ\xFF\xFF\xFF\xFFK";
  EXPECT_TRUE(read_dictionary(dictionary("J" + number, '<', kLittle)).contains("2007_000096"));
  EXPECT_TRUE(
      read_dictionary(dictionary(scalar + std::string("\0tbU\x04", 5) + number + "\x86R", '<', kLittle))
          .contains("2007_000096"));
  EXPECT_TRUE(read_dictionary(dictionary("K\x07", '<', kLittle)).contains("7"));
}

TEST(Tags, RefusesOtherContent) {
  expect_input_error([] { read_dictionary(dictionary("N", '<', kLittle)); }, {"key"});
  expect_input_error([] { read_dictionary(dictionary("U\x01x", '<', "1234567")); }, {"tags.npy"});
  expect_input_error([] { read_dictionary(npy_header("<f4", "(1,)") + "abcd"); }, {"dictionary", "<f4"});
  expect_input_error([] { read_dictionary(npy_header("|O", "()") + "\x80\x02N."); }, {"array"});
  expect_input_error([] { read_dictionary("PK and more bytes"); }, {"not a .npy file"});
  expect_input_error([] { read_tags("/no/such/file.npy"); }, {"/no/such/file.npy"});
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

/// Whatever a damaged file holds, the reader either reads it or says what is wrong.
void read_or_refuse(const std::filesystem::path& path, const std::string& bytes) {
  write_bytes(path, bytes);
  try {
    for (const auto& [id, tags] : read_tags(path)) ASSERT_LE(tags.size(), bytes.size());
  } catch (const InputError&) {
  }
}

TEST(Tags, SurvivesDamage) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "damaged.npy";
  for (const std::string name :
       {"cls_labels_p2.npy", "cls_labels_p3.npy", "cls_labels_p4.npy", "hostile.npy"}) {
    const std::string bytes = read_file(kFixtures / name);
    for (size_t length = 0; length < bytes.size(); length += 13) {
      write_bytes(path, bytes.substr(0, length));
      EXPECT_THROW(read_tags(path), InputError) << length;
    }
    Random random(1, 2, bytes.size());
    for (int trial = 0; trial < 400; ++trial) {
      std::string damaged = bytes;
      for (uint64_t flips = 1 + random.below(4); flips > 0; --flips) {
        damaged[random.below(damaged.size())] = static_cast<char>(random.word());
      }
      read_or_refuse(path, damaged);
    }
  }
}

TEST(Tags, SharedBytesCannotUnpackWithoutBound) {
  // One array of 100,000 bytes, which 20,000 keys share through the memo.
  const std::string data(100000, '\1');
  std::string shared = dictionary("U\x01x", '<', kLittle);
  auto replace = [&](const std::string& from, const std::string& to) {
    const size_t at = shared.rfind(from);
    ASSERT_NE(at, std::string::npos);
    shared.replace(at, from.size(), to);
  };
  replace("U\x08" + kLittle, std::string("T\xa0\x86\x01\0", 5) + data);
  replace("K\x02\x85", std::string("J\xa8\x61\0\0\x85", 6));  // 25,000 floats
  std::string entries = "q\1s";
  for (int i = 0; i < 20000; ++i) entries += fmt::format("U\x05{:05}h\1s", i);
  replace("sa", entries + "a");
  expect_input_error([&] { read_dictionary(shared); }, {"ten times"});
}

TEST(Npy, ReadsPlainArrays) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.npy";
  write_bytes(path, npy_header("<f4", "(2, 1)") + kLittle);
  const Npy floats = read_npy(path);
  EXPECT_EQ(floats.dtype, "<f4");
  EXPECT_EQ(floats.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(floats.values, (std::vector<double>{1, 2}));
  write_bytes(path, npy_header(">i2", "(3,)") + std::string("\x00\x01\xff\xff\x01\x00", 6));
  EXPECT_EQ(read_npy(path).values, (std::vector<double>{1, -1, 256}));
  write_bytes(path, npy_header("|b1", "()") + "\x01");
  EXPECT_EQ(read_npy(path).values, std::vector<double>{1});
  write_bytes(path, npy_header("<f8", "(0, 4)"));
  EXPECT_TRUE(read_npy(path).values.empty());
  EXPECT_EQ(read_npy(kFixtures / "cls_labels_p2.npy").dtype, "|O");
}

TEST(Npy, RefusesWhatItCannotRead) {
  const TemporaryDirectory directory;
  const auto path = directory.path / "a.npy";
  for (const auto& [bytes, part] : std::initializer_list<std::pair<std::string, std::string>>{
           {npy_header("<f4", "(3,)") + kLittle, "does not fit"},
           {npy_header("<f4", "(2147483647, 2147483647, 2147483647, 4)") + kLittle, "does not fit"},
           {npy_header("<f4", "(99999999999999999999,)") + kLittle, "shape"},
           {npy_header("<f4", "(2") + kLittle, "shape"},
           {npy_header("<c8", "(1,)") + kLittle, "<c8"},
           {npy_header("", "(1,)") + kLittle, "type"},
           {std::string("\x93NUMPY\x01\x00\xff\xff", 10) + "short", "cut short"},
           {"hello", "not a .npy file"}}) {
    write_bytes(path, bytes);
    expect_input_error([&] { read_npy(path); }, {path.string(), part});
  }
}

}  // namespace
}  // namespace scrawl
