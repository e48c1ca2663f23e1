#include "engine/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>

#include "engine/error.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

template <typename T>
HostTensor stored(const std::string& dtype, const std::vector<T>& values) {
  HostTensor tensor{
      dtype, {static_cast<int64_t>(values.size())}, std::vector<std::byte>(values.size() * sizeof(T))};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

class SafeTensorsTest : public ::testing::Test {
 protected:
  SafeTensorsTest() { fs::create_directories(folder_); }
  ~SafeTensorsTest() override { fs::remove_all(folder_); }

  fs::path write(const std::string& header, const std::string& body,
                 std::optional<uint64_t> claimed_size = std::nullopt) const {
    const uint64_t size = claimed_size.value_or(header.size());
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&size), sizeof size);
    out << header << body;
    return path_;
  }

  /// The file is refused with a message that names it and says `part`.
  void expect_refused(const fs::path& path, const std::string& part) const {
    try {
      read_safetensors(path);
      ADD_FAILURE() << "accepted, expected: " << part;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  const fs::path folder_ = fs::temp_directory_path() / ("scrawl_safetensors_" + std::to_string(getpid()));
  const fs::path path_ = folder_ / "file.safetensors";
};

TEST_F(SafeTensorsTest, ComesBackAsWritten) {
  TensorFile file;
  file.tensors["a"] = HostTensor::of({2, 3}, std::vector<float>{1, -2, 3.5f, 0, 1e-30f, 1e30f});
  file.tensors["b.c"] = HostTensor::of({2}, std::vector<int64_t>{-1, int64_t{1} << 40});
  file.tensors["scalar"] = HostTensor::of({}, std::vector<float>{7});
  file.tensors["empty"] = HostTensor::of({0, 4}, std::vector<float>{});
  file.metadata["format"] = "pt";
  write_safetensors(path_, file);
  const TensorFile back = read_safetensors(path_);
  EXPECT_EQ(back.metadata, file.metadata);
  ASSERT_EQ(back.tensors.size(), 4u);
  for (const auto& [name, tensor] : file.tensors) {
    EXPECT_EQ(back.at(name).dtype, tensor.dtype) << name;
    EXPECT_EQ(back.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(back.at(name).bytes, tensor.bytes) << name;
  }
  EXPECT_EQ(back.at("b.c").integers(), (std::vector<int64_t>{-1, int64_t{1} << 40}));
}

TEST_F(SafeTensorsTest, LeavesNoTemporaryFile) {
  write_safetensors(folder_ / "deeper" / "file.safetensors", TensorFile{});
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "deeper"), fs::directory_iterator()), 1);
}

TEST_F(SafeTensorsTest, ConvertsEveryNumericType) {
  const std::vector<float> want{0, 1, 100};
  EXPECT_EQ(stored<float>("F32", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<double>("F64", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<int64_t>("I64", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<int32_t>("I32", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<int16_t>("I16", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<int8_t>("I8", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<uint64_t>("U64", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<uint32_t>("U32", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<uint16_t>("U16", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<uint8_t>("U8", {0, 1, 100}).floats(), want);
  EXPECT_EQ(stored<uint8_t>("BOOL", {0, 1}).floats(), (std::vector<float>{0, 1}));
  EXPECT_EQ(stored<int32_t>("I32", {-5}).integers(), std::vector<int64_t>{-5});
  EXPECT_THROW(stored<uint8_t>("F8_E4M3", {0}).floats(), InputError);
}

TEST_F(SafeTensorsTest, ConvertsHalfPrecision) {
  const auto half = stored<uint16_t>("F16", {0x0000, 0x3C00, 0xC000, 0x7BFF, 0x3555, 0x0001, 0x03FF, 0x0400,
                                             0x8001, 0x7C00, 0xFC00, 0x8000})
                        .floats();
  const std::vector<float> want{0.0f,
                                1.0f,
                                -2.0f,
                                65504.0f,
                                0.333251953125f,
                                0x1p-24f,
                                1023 * 0x1p-24f,
                                0x1p-14f,
                                -0x1p-24f,
                                std::numeric_limits<float>::infinity(),
                                -std::numeric_limits<float>::infinity(),
                                0.0f};
  EXPECT_EQ(half, want);
  EXPECT_TRUE(std::signbit(half.back()));
  EXPECT_TRUE(std::isnan(stored<uint16_t>("F16", {0x7E00}).floats()[0]));
}

TEST_F(SafeTensorsTest, ConvertsBfloat) {
  EXPECT_EQ(stored<uint16_t>("BF16", {0x0000, 0x3F80, 0xC000, 0x4049}).floats(),
            (std::vector<float>{0.0f, 1.0f, -2.0f, 3.140625f}));
  EXPECT_TRUE(std::isnan(stored<uint16_t>("BF16", {0x7FC0}).floats()[0]));
}

TEST_F(SafeTensorsTest, RefusesWhatIsNoSafetensorsFile) {
  expect_refused(folder_ / "missing", "");
  std::ofstream(path_) << "short";
  expect_refused(path_, "5 bytes");
  expect_refused(write("{}", "", 1000), "1000 bytes");
  expect_refused(write("{}", "", ~uint64_t{0}), "claims");
  expect_refused(write("[1,2]", ""), "JSON");
  expect_refused(write("{\"a\":", ""), "JSON");
}

TEST_F(SafeTensorsTest, RefusesEntriesThatDoNotFit) {
  const auto entry = [](const std::string& fields) { return "{\"weight\":{" + fields + "}}"; };
  const std::string body(16, 'x');
  const auto expect_entry_refused = [&](const std::string& fields, const std::string& part) {
    expect_refused(write(entry(fields), body), "'weight'");
    expect_refused(write(entry(fields), body), part);
  };
  const std::string f32 = R"("dtype":"F32",)";
  expect_entry_refused(f32 + R"("shape":[8],"data_offsets":[0,32])", "outside");  // truncated
  expect_entry_refused(f32 + R"("shape":[2],"data_offsets":[12,20])", "outside");
  expect_entry_refused(f32 + R"("shape":[2],"data_offsets":[-8,0])", "outside");
  expect_entry_refused(f32 + R"("shape":[2],"data_offsets":[8,0])", "outside");
  expect_entry_refused(f32 + R"("shape":[2],"data_offsets":[0])", "outside");
  expect_entry_refused(f32 + R"("shape":[3],"data_offsets":[0,16])", "needs 12");
  expect_entry_refused(f32 + R"("shape":[-4],"data_offsets":[0,16])", "shape");
  expect_entry_refused(f32 + R"("shape":[4611686018427387904,4],"data_offsets":[0,0])", "shape");
  expect_entry_refused(f32 + R"("shape":[4294967296,4294967296],"data_offsets":[0,0])", "shape");
  expect_entry_refused(R"("dtype":"F8","shape":[4],"data_offsets":[0,4])", "F8");
  expect_entry_refused(R"("shape":[4],"data_offsets":[0,16])", "malformed");
  expect_entry_refused(f32 + R"("shape":"4","data_offsets":[0,16])", "malformed");
  expect_entry_refused(f32 + R"("shape":[4],"data_offsets":{"a":0})", "malformed");
}

TEST_F(SafeTensorsTest, RefusesTensorsThatOverlap) {
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::string none = R"("none":{"dtype":"U8","shape":[0],"data_offsets":[2,2]})";
  const auto b = [](const std::string& offsets) {
    return R"("b":{"dtype":"U8","shape":[4],"data_offsets":)" + offsets + "}";
  };
  expect_refused(write("{" + a + "," + b("[3,7]") + "}", "12345678"), "share");
  EXPECT_NO_THROW(read_safetensors(write("{" + b("[4,8]") + "," + none + "," + a + "}", "12345678")));
}

TEST_F(SafeTensorsTest, RefusesHeadersOfAnotherForm) {
  const std::string body(8, 'x');
  const auto entry = [](const std::string& shape, const std::string& more = "") {
    return R"({"dtype":"U8","shape":)" + shape + R"(,"data_offsets":[0,8])" + more + "}";
  };
  EXPECT_NO_THROW(read_safetensors(write("{\"a\":" + entry("[8]", R"(,"x":{"y":[[],{},1.5]})") + "}", body)));
  for (const char* shape :
       {"[[8]]", "[8.0]", "[true]", "[null]", "[\"8\"]", "[{}]", "[18446744073709551615]"})
    expect_refused(write("{\"a\":" + entry(shape) + "}", body), "malformed");
  for (const char* other : {"1", "\"x\"", "[]", "null", "{}"})
    expect_refused(write("{\"a\":" + std::string(other) + "}", body), "'a': malformed");
  expect_refused(write("{\"a\":" + entry("[8]") + ",\"a\":" + entry("[8]") + "}", body), "'a'");
  expect_refused(write("{\"a\":" + entry("[8,1,1,1,1,1,1,1,1]") + "}", body), "dimensions");
  expect_refused(write("{\"a\":" + entry("[8]") + "} x", body), "JSON");
  for (const char* metadata : {"[]", "{\"a\":1}", "{\"a\":[]}", "{\"a\":{}}", "7"})
    expect_refused(write("{\"__metadata__\":" + std::string(metadata) + "}", body), "malformed");
}

TEST_F(SafeTensorsTest, TakesNoMoreMemoryThanTheFileIsWorth) {
  std::string texts = "{\"__metadata__\":{\"a\":\"\"";
  for (int i = 0; i < 20000; ++i) texts += fmt::format(",\"{}\":\"\"", i);
  expect_refused(write(texts + "}}", ""), "more texts");
  const std::string entry = R"("{}":{{"dtype":"U8","shape":[9000],"data_offsets":[0,9000]}})";
  std::string shared = "{" + fmt::format(fmt::runtime(entry), 0);
  for (int i = 1; i < 100; ++i) shared += "," + fmt::format(fmt::runtime(entry), i);
  expect_refused(write(shared + "}", std::string(9000, 'x')), "shares its bytes");
}

TEST_F(SafeTensorsTest, RefusesToMakeIntegersOfOtherNumbers) {
  EXPECT_EQ(stored<float>("F32", {-3.0f, 0x1p40f}).integers(), (std::vector<int64_t>{-3, int64_t{1} << 40}));
  for (const float number : {NAN, INFINITY, -INFINITY, 0x1p63f, -1e30f})
    EXPECT_THROW(stored<float>("F32", {number}).integers(), InputError) << number;
  EXPECT_THROW(stored<double>("F64", {1e300}).integers(), InputError);
}

TEST_F(SafeTensorsTest, NamesAMissingTensor) {
  EXPECT_THROW(
      {
        try {
          TensorFile{}.at("decoder.weight");
        } catch (const InputError& error) {
          EXPECT_NE(std::string(error.what()).find("decoder.weight"), std::string::npos);
          throw;
        }
      },
      InputError);
}

}  // namespace
}  // namespace scrawl
