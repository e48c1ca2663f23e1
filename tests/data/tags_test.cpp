#include "data/tags.h"

#include <gtest/gtest.h>

#include "engine/files.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "tests/data/npy_bytes.h"
#include "tests/data/temporary_directory.h"
#include "tests/paths.h"

namespace scrawl {
namespace {

using namespace std::string_literals;

const std::filesystem::path kFixtures = test_directory() / "fixtures";

TEST(Tags, ReadsEveryProtocol) {
  for (const std::string name : {"cls_labels_p2", "cls_labels_p3", "cls_labels_p4"}) {
    SCOPED_TRACE(name);
    const Tags tags = read_tags(kFixtures / (name + ".npy"));
    const TensorFile expected = read_safetensors(kFixtures / (name + ".safetensors"));
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
  return parse_tags(bytes, "tags.npy");
}

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

/// A dictionary of thousands of vectors of three numbers as numpy pickles it, number by number of the memo:
/// all around the numbers is many times their size.
class FewClasses {
 public:
  explicit FewClasses(int images) {
    emit("cnumpy.core.multiarray\n_reconstruct\n");
    emit("cnumpy\nndarray\n");
    emit("K\0\x85"s);
    emit("C\1b");
    emit("\x87");
    emit("R");
    stream_ += "(K\1)";
    emit("cnumpy\ndtype\n");
    emit_type("O8", "|");
    stream_ += "\x89";
    emit("]");
    emit("}");
    stream_ += "(";
    for (int i = 0; i < images; ++i) emit_entry(i);
    stream_ += "ua";
    emit("t");
    stream_ += "b.";
  }
  std::string bytes() const { return npy_header("|O", "()") + stream_; }

 private:
  /// Opcodes whose value is stored in the memo; those that come again are 0 (_reconstruct), 1 (ndarray),
  /// 3 (b"b"), 6 (dtype) and the vectors' type.
  void emit(const std::string& opcodes) {
    stream_ += opcodes + "r" + std::string(reinterpret_cast<const char*>(&memo_), sizeof memo_);
    ++memo_;
  }
  void emit_type(const std::string& name, const std::string& byte_order) {
    emit("X\2\0\0\0"s + name);
    emit("K\0K\1\x87"s);
    type_ = memo_;
    emit("R");
    stream_ += "(K\3";
    emit("X\1\0\0\0"s + byte_order);
    stream_ += "NNNJ\xFF\xFF\xFF\xFFJ\xFF\xFF\xFF\xFFK\0"s;
    emit("t");
    stream_ += "b";
  }
  void emit_entry(int i) {
    emit("X\x0b\0\0\0"s + fmt::format("2007_{:06}", i));
    stream_ += "h\0h\1"s;
    emit("K\0\x85"s);
    stream_ += "h\3";
    emit("\x87");
    emit("R");
    stream_ += "(K\1";
    emit("K\3\x85");
    if (i == 0) {
      stream_ += "h\6";
      emit_type("f4", "<");
    } else {
      stream_ += "h" + std::string(1, static_cast<char>(type_));
    }
    stream_ += "\x89";
    emit("C\x0c\0\0\x80\x3f\0\0\0\0\0\0\0\0"s);
    emit("t");
    stream_ += "b";
  }

  std::string stream_ = "\x80\3";
  uint32_t memo_ = 0, type_ = 0;
};

TEST(Tags, OfFewClassesAreRead) {
  const Tags tags = read_dictionary(FewClasses(3000).bytes());
  EXPECT_EQ(tags.size(), 3000u);
  EXPECT_EQ(tags.at("2007_002999"), (std::vector<float>{1, 0, 0}));
}

TEST(Tags, AreWrittenAsTheyAreRead) {
  Tags tags{{"a", {0, 1, 0.25f}},
            {"B\xC3\xA4r", {1}},
            {std::string(300, 'x'), {}},
            {"many", std::vector<float>(254, 1)}};
  for (int i = 0; i < 2000; ++i)
    tags[fmt::format("2007_{:06}", i)] = std::vector<float>(20, static_cast<float>(i % 2));
  const TemporaryDirectory directory;
  write_tags(directory.path / "deep" / "cls_labels.npy", tags);
  EXPECT_EQ(read_tags(directory.path / "deep" / "cls_labels.npy"), tags);
  EXPECT_EQ(parse_tags(encode_tags({}), "empty"), Tags{});
}

TEST(Tags, OfOneClassAreReadAsTheyAreWritten) {  // what unpacks to the largest multiple of its bytes
  for (const int images : {12000, 100000}) {
    Tags tags;
    for (int i = 0; i < images; ++i) tags[std::to_string(i)] = {static_cast<float>(i % 2)};
    EXPECT_EQ(parse_tags(encode_tags(tags), "one class"), tags);
  }
}

TEST(Tags, AreWrittenAsNumPyWasSeenToReadThem) {
  // numpy.load(…, allow_pickle=True).item() of this file, in NumPy 1.23 and 2.4, gives the same dictionary.
  const Tags tags{{"2007_000032", {1, 0, 0.5f}}, {"B\xC3\xA4r", {0, 1, 1}}};
  EXPECT_EQ(encode_tags(tags), read_file(kFixtures / "cls_labels_written.npy"));
}

/// Whatever a damaged file holds, the reader either reads it or says what is wrong.
void read_or_refuse(const std::string& bytes) {
  try {
    for (const auto& [id, tags] : parse_tags(bytes, "damaged")) ASSERT_LE(tags.size(), bytes.size());
  } catch (const InputError&) {
  }
}

TEST(Tags, SurvivesDamage) {
  for (const std::string name :
       {"cls_labels_p2.npy", "cls_labels_p3.npy", "cls_labels_p4.npy", "hostile.npy"}) {
    const std::string bytes = read_file(kFixtures / name);
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_THROW(parse_tags(bytes.substr(0, length), "cut"), InputError) << length;
    }
    Random random(1, 2, bytes.size());
    for (int trial = 0; trial < 3000; ++trial) {
      std::string damaged = bytes;
      for (uint64_t flips = 1 + random.below(4); flips > 0; --flips) {
        damaged[random.below(damaged.size())] = static_cast<char>(random.word());
      }
      read_or_refuse(damaged);
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
  for (int i = 0; i < 2000; ++i) entries += fmt::format("U\x05{:05}h\1s", i);
  replace("sa", entries + "a");
  expect_input_error([&] { read_dictionary(shared); }, {"far more"});
}

}  // namespace
}  // namespace scrawl
