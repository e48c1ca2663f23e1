// Checkpoints in tests/fixtures/torch_* were written by PyTorch; see the README there.
#include "engine/torch_file.h"

#include <gtest/gtest.h>

#include "engine/files.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "engine/zip_file.h"
#include "tests/data/temporary_directory.h"
#include "tests/paths.h"

namespace scrawl {
namespace {

void expect_equal(const TensorFile& got, const TensorFile& want) {
  EXPECT_EQ(got.tensors.size(), want.tensors.size());
  for (const auto& [name, tensor] : want.tensors) {
    ASSERT_TRUE(got.contains(name)) << name;
    EXPECT_EQ(got.at(name).dtype, tensor.dtype) << name;
    EXPECT_EQ(got.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(got.at(name).bytes, tensor.bytes) << name;
  }
}

class TorchFile : public testing::Test {
 protected:
  using Entries = std::vector<std::pair<std::string, std::string>>;

  std::filesystem::path zip(const Entries& entries) const {
    std::vector<std::pair<std::string, std::span<const std::byte>>> spans;
    for (const auto& [name, bytes] : entries) spans.emplace_back(name, std::as_bytes(std::span(bytes)));
    write_zip(directory_.path / "made.pth", spans);
    return directory_.path / "made.pth";
  }

  /// A checkpoint with one storage of four floats, and a pickle without its first bytes and its end.
  std::filesystem::path checkpoint(const std::string& pickle) const {
    return zip({{"made/data.pkl", "\x80\x02" + pickle + "."}, {"made/data/0", std::string(16, '\1')}});
  }

  const TemporaryDirectory directory_;
};

/// A number of a pickle in four bytes.
std::string integer(int32_t value) {
  return "J" + std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string text(const std::string& text) {
  return "U" + std::string(1, static_cast<char>(text.size())) + text;
}

/// An honest text; `text` writes what Python 2 took for one.
std::string unicode(const std::string& text) {
  return std::string("X") + static_cast<char>(text.size()) + std::string(3, '\0') + text;
}

std::string tuple(const std::vector<int32_t>& values) {
  std::string all = "(";
  for (int32_t value : values) all += integer(value);
  return all + "t";
}

/// The id of a storage of floats.
std::string storage(const std::string& key) {
  return "(" + text("storage") + "ctorch\nFloatStorage\n" + unicode(key) + text("cpu") + integer(4) + "tQ";
}

std::string tensor(const std::vector<int32_t>& shape, const std::vector<int32_t>& strides, int32_t offset = 0,
                   const std::string& key = "0") {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage(key) + integer(offset) + tuple(shape) +
         tuple(strides) + "\x89NtR";
}

/// A dictionary with one entry.
std::string dictionary(const std::string& key, const std::string& value) {
  return "}" + text(key) + value + "s";
}

TEST_F(TorchFile, HoldsWhatPyTorchWroteInEveryForm) {
  const TensorFile want = read_safetensors(fixture("torch_values.safetensors"));
  for (const char* name : {"torch_values.pth", "torch_values_legacy.pth", "torch_values_protocol4.pth",
                           "torch_values_legacy4.pth", "torch_values_packed.pth"}) {
    SCOPED_TRACE(name);
    expect_equal(read_torch_file(fixture(name)), want);
    expect_equal(read_tensor_file(fixture(name)), want);
  }
  expect_equal(read_tensor_file(fixture("torch_values.safetensors")), want);
}

TEST_F(TorchFile, ComesBackAsWritten) {
  TensorFile file = read_safetensors(fixture("torch_values.safetensors"));
  file.metadata = {{"format", "pt"}, {"classes", "cat, \"dog\""}};
  const auto path = directory_.path / "new" / "a.pth";
  write_torch_file(path, file);
  expect_equal(read_torch_file(path), file);
  EXPECT_EQ(read_torch_file(path).metadata, file.metadata);
  const std::string bytes = read_file(path);
  write_torch_file(path, file);
  EXPECT_EQ(read_file(path), bytes) << "the same content gives other bytes";
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);
}

TEST_F(TorchFile, IsReadAsMadeHere) {
  const TensorFile file = read_torch_file(checkpoint(dictionary("w", tensor({2, 2}, {1, 2}))));
  EXPECT_EQ(file.at("w").shape, (std::vector<int64_t>{2, 2}));
}

TEST_F(TorchFile, MayHoldThousandsOfSmallTensors) {
  // As PyTorch writes them, with a memo for all that occurs again.
  std::string pickle = "ctorch._utils\n_rebuild_tensor_v2\nq" + std::string(1, '\0') +
                       "0ctorch\nFloatStorage\nq\1" + "0ccollections\nOrderedDict\nq\2" + "0" +
                       unicode("storage") + "q\3" + "0" + unicode("cpu") + "q\4" + "0}(";
  Entries entries{{"made/data.pkl", ""}};
  constexpr int kTensors = 5000;
  for (int i = 0; i < kTensors; ++i) {
    const std::string key = std::to_string(i);
    pickle += unicode("weight" + key) + "h" + std::string(1, '\0') + "((h\3h\1" + unicode(key) + "h\4" +
              integer(32) + "tQ" + integer(0) + tuple({32}) + tuple({1}) + "\x89h\2)RtR";
    entries.emplace_back("made/data/" + key, std::string(128, '\1'));
  }
  entries[0].second = "\x80\x02" + pickle + "u.";
  EXPECT_EQ(read_torch_file(zip(entries)).tensors.size(), kTensors);
}

TEST_F(TorchFile, NeverExecutesAnything) {
  std::filesystem::remove("/tmp/scrawl_was_here");
  expect_input_error([] { read_torch_file(fixture("hostile_zip.pth")); },
                     {"hostile_zip.pth", "posix.system"});
  EXPECT_FALSE(std::filesystem::exists("/tmp/scrawl_was_here"));
  for (const auto& [pickle, part] : std::initializer_list<std::pair<std::string, std::string>>{
           {"cmodels\nNet\n)\x81", "models.Net"},
           {"ctorch._utils\n_rebuild_tensor_v2\n)\x81", "NEWOBJ"},
           {"ctorch.storage\n_load_from_bytes\n", "torch.storage._load_from_bytes"},
           {"cbuiltins\ngetattr\n", "builtins.getattr"}})
    expect_input_error([&, &bytes = pickle] { read_torch_file(checkpoint(bytes)); }, {"made.pth", part});
}

TEST_F(TorchFile, RefusesTensorsThatDoNotFitTheirStorage) {
  for (const auto& [pickle, part] : std::initializer_list<std::pair<std::string, std::string>>{
           {tensor({5}, {1}), "beyond"},
           {tensor({4}, {1}, 1), "beyond"},
           {tensor({2, 2}, {3, 1}), "beyond"},
           {tensor({1}, {1}, 4), "beyond"},
           {tensor({2147483647}, {2147483647}), "more than"},
           {tensor({2147483647, 0, 2147483647}, {1, 1, 1}), "more than"},
           {tensor({1000, 1000}, {0, 0}), "more than"},
           {tensor({2}, {-1}), "no number from 0 up"},
           {tensor({-2}, {1}), "no number from 0 up"},
           {tensor({2}, {1, 1}), "strides"},
           {tensor({1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}), "dimensions"},
           {tensor({1}, {1}, 0, "7"), "made/data/7"}})
    expect_input_error([&, &bytes = pickle] { read_torch_file(checkpoint(dictionary("w", bytes))); },
                       {"made.pth", part});
}

TEST_F(TorchFile, RefusesWhatPyTorchDoesNotWrite) {
  // Lists that hold the one before them twice: 2^24 ways through 200 bytes.
  std::string doubling = "]";
  for (char i = 0; i < 24; ++i) doubling += std::string("q") + i + "0](h" + i + "h" + i + "e";
  for (const auto& [pickle, part] : std::initializer_list<std::pair<std::string, std::string>>{
           {"ctorch._utils\n_rebuild_tensor_v2\n(NK\1K\1K\1tR", "no storage"},
           {"ctorch._utils\n_rebuild_tensor_v2\n(NQK\1K\1K\1tR", "id"},
           {"ctorch._utils\n_rebuild_tensor_v2\n((NNNNNtQK\1K\1K\1tR", "id"},
           {"}(" + text("w") + tensor({1}, {1}) + text("w") + tensor({1}, {1}) + "u", "'w' occurs twice"},
           {std::string(100, ']') + std::string(99, 'a'), "deep"},
           {"]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a", "deep"},
           {"}X" + std::string("\xe9\3\0\0", 4) + std::string(1001, 'n') + "Ns", "1000 characters"},
           {doubling, "again and again"}}) {
    SCOPED_TRACE(part);
    expect_input_error([&, &bytes = pickle] { read_torch_file(checkpoint(bytes)); }, {"made.pth", part});
  }
}

TEST_F(TorchFile, RefusesOtherZipFiles) {
  expect_input_error([&] { read_torch_file(zip({{"a.txt", "text"}})); }, {"made.pth", "data.pkl"});
  expect_input_error(
      [&] {
        read_torch_file(zip({{"a/data.pkl", "N."}, {"a/byteorder", "big"}}));
      },
      {"big-endian"});
  expect_input_error(
      [&] {
        read_torch_file(zip({{"a/data.pkl", "}."}, {"a/extra/metadata.json", "[1]"}}));
      },
      {"extra/metadata.json"});
  write_bytes(directory_.path / "text", "hello");
  expect_input_error([&] { read_tensor_file(directory_.path / "text"); }, {"text", "neither"});
  expect_input_error([&] { read_tensor_file(directory_.path / "nowhere"); }, {"nowhere", "no such file"});
}

TEST_F(TorchFile, UnpacksNoMoreThanAFileOfItsSizeShouldHold) {
  expect_input_error([] { read_torch_file(fixture("bomb.pth")); }, {"bomb.pth", "data/0", "16777216"});
}

TEST_F(TorchFile, RefusesMoreNamesThanTheFileIsWorth) {
  // One tensor under thousands of names, all with one long beginning: dictionaries that share one dictionary.
  const auto numbers = [](const std::string& first, const std::string& again) {
    std::string entries = "}(";
    for (int i = 0; i < 250; ++i)
      entries += std::string("K") + static_cast<char>(i) + (i == 0 ? first : again);
    return entries + "u";
  };
  const std::string names = numbers(numbers(tensor({2}, {1}) + "q\1", "h\1") + "q\2", "h\2");
  expect_input_error([&] { read_torch_file(checkpoint(dictionary(std::string(120, 'n'), names))); },
                     {"made.pth", "more tensors"});
}

TEST_F(TorchFile, RefusesToUnpackTheSameBytesAgainAndAgain) {
  // Sixty entries are the same 55 bytes, which unpack to 40,000; one tensor takes a single number of each.
  const auto path = test_directory() / "fuzz" / "corpus" / "pth" / "unpacks_again_and_again.pth";
  expect_input_error([&] { read_torch_file(path); }, {path.string(), "unpacks to 40000 bytes"});
}

TEST_F(TorchFile, RefusesOneNameForTwoTensors) {
  const std::string entry = text("w") + tensor({2}, {1});
  expect_input_error([&] { read_torch_file(checkpoint("}(" + entry + entry + "u")); }, {"'w' occurs twice"});
}

TEST_F(TorchFile, RefusesFilesThatWereCutShort) {
  expect_input_error([] { read_torch_file(fixture("truncated_zip.pth")); },
                     {"truncated_zip.pth", "cut short"});
}

/// Whatever a damaged file holds, the reader either reads it or says what is wrong.
void read_or_refuse(const std::filesystem::path& path, const std::string& bytes) {
  write_bytes(path, bytes);
  try {
    read_tensor_file(path);
  } catch (const InputError&) {
  }
}

TEST_F(TorchFile, SurvivesDamage) {
  const auto path = directory_.path / "damaged";
  for (const char* name : {"torch_values.pth", "torch_values_legacy.pth", "torch_values_packed.pth"}) {
    SCOPED_TRACE(name);
    const std::string bytes = read_file(fixture(name));
    constexpr size_t kStep = 97;
    for (size_t length = 0; length < bytes.size(); length += kStep) {
      write_bytes(path, bytes.substr(0, length));
      EXPECT_THROW(read_tensor_file(path), InputError) << length;
    }
    Random random(1, 2, bytes.size());
    for (int trial = 0; trial < 300; ++trial) {
      std::string damaged = bytes;
      for (uint64_t flips = 1 + random.below(4); flips > 0; --flips)
        damaged[random.below(damaged.size())] = static_cast<char>(random.word());
      read_or_refuse(path, damaged);
    }
  }
}

}  // namespace
}  // namespace scrawl
