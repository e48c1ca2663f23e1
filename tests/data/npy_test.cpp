#include "data/npy.h"

#include <gtest/gtest.h>

#include "tests/data/npy_bytes.h"
#include "tests/data/temporary_directory.h"
#include "tests/paths.h"

namespace scrawl {
namespace {

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
  EXPECT_EQ(read_npy(fixture("cls_labels_p2.npy")).dtype, "|O");
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
