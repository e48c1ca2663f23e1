#include "tests/fuzz/greedy_inputs.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

#include "data/tags.h"

namespace scrawl {
namespace {

using Inputs = std::vector<std::string>;

std::string times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

/// The text with another number in the place of {} each time.
std::string numbered(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += fmt::format(fmt::runtime(text), i);
  return all;
}

template <typename T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Numbers of elements are a little above powers of two, where vectors have just grown.

Inputs xml() {
  const auto scribbles = [](const std::string& inner) { return "<annotation>" + inner + "</annotation>"; };
  const auto cvat = [](const std::string& inner) {
    return "<annotations><image name=\"a\" width=\"1\" height=\"1\">" + inner + "</image></annotations>";
  };
  return {
      scribbles(times(20000, "<a/>")),
      scribbles(times(15000, "<X>1</X>y")),
      scribbles(times(2050, "<polygon><tag>dog</tag><point><X>1</X><Y>1</Y></point></polygon>")),
      scribbles("<polygon><tag>dog</tag>" + times(4100, "<point><X>1</X><Y>1</Y></point>") + "</polygon>"),
      scribbles(times(4000, "<object><name>dog</name></object>")),
      cvat(times(100, "<ellipse label=\"a\" cx=\"1\" cy=\"1\" rx=\"1e6\" ry=\"1\"/>")),
      cvat(times(4098, "<points label=\"a\" points=\"1,1\"/>")),
      cvat(times(2050, "<box label=\"a\" xtl=\"1\" ytl=\"1\" xbr=\"1\" ybr=\"1\"/>")),
      cvat(numbered(4098, "<points label=\"a\" points=\"1,1\" z_order=\"-{}\"/>")),
      cvat(numbered(4098, "<points label=\"{}\" points=\"1,1\"/>")),
      cvat(numbered(5000, "<a{} b=\"cccccccccccccc\"/>")),
      cvat("<points label=\"a\" points=\"" + times(32769, "1,1;") + "1,1\"/>"),
      "<annotations>" + numbered(4098, "<image name=\"{}\" width=\"1\" height=\"1\"/>") + "</annotations>",
      "<annotations><image name=\"" + times(40000, "a/") + "a\" width=\"1\" height=\"1\"/></annotations>",
      "<annotations><meta><task><labels>" + numbered(4098, "<label><name>{}</name></label>") +
          "</labels></task></meta></annotations>",
  };
}

Inputs json() {
  const auto labelme = [](std::string shapes) {
    shapes.pop_back();  // the last comma
    return "{\"imagePath\":\"a\",\"shapes\":[" + shapes + "]}";
  };
  const std::string one = "{{\"label\":\"{}\",\"points\":[[1,1]]}},";
  return {
      labelme(times(100, R"({"label":"a","points":[[0,0],[1e6,0]],"shape_type":"circle"},)")),
      labelme(numbered(4098, one)),
      labelme(times(4098, R"({"label":"a","points":[[1,1]]},)")),
      labelme(numbered(8000, "{{\"shape_type\":\"{}\"}},")),
      labelme("{\"label\":\"a\",\"points\":[" + times(16385, "[1,1],") + "[1,1]]},"),
      "{\"imageData\":\"" + std::string(140000, 'A') + "\",\"imagePath\":\"a\",\"shapes\":[]}",
      "{\"imagePath\":\"" + std::string(140000, 'A') + "\",\"shapes\":[]}",
      std::string(100000, '['),
  };
}

Inputs config() {
  return {
      "train: {gpu_ids: [" + times(1980, "1,") + "1]}",
      "{" + numbered(1980, "a{},") + "}",
      times(400, "a: {"),
      std::string(1990, '['),
      numbered(990, "- &a{}\n"),
      "train: {gpu_ids: [" + times(30000, "1,") + "1]}",
      std::string(60000, '#') + "\n" + std::string(60000, 'k') + ": 1",
      "seed: " + std::string(60000, '1'),
      std::string(100000, '#'),
  };
}

Inputs safetensors() {
  const auto file = [](const std::string& header, const std::string& body = "") {
    return bytes_of(uint64_t{header.size()}) + header + body;
  };
  const std::string entry = R"("{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},)";
  const std::string whole = R"("{}":{{"dtype":"U8","shape":[9000],"data_offsets":[0,9000]}},)";
  const std::string last = R"("last":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})";
  return {
      file("{\"a\":[" + times(60000, "[],") + "[]]}"),
      file("{\"a\":{\"x\":[" + times(60000, "[],") + "[]]}}"),
      file("{\"a\":" + std::string(60000, '[') + std::string(60000, ']') + "}"),
      file("{\"a\":{\"dtype\":\"U8\",\"shape\":[" + times(60000, "1,") + "1],\"data_offsets\":[0,0]}}"),
      file("{\"__metadata__\":{" + numbered(20000, "\"{}\":\"\",") + "\"a\":\"\"}}"),
      file("{\"__metadata__\":{\"checkpoint\":\"[" + times(60000, "[],") + "[]]\"}}"),
      file("{\"__metadata__\":{\"checkpoint\":\"[" + times(20000, "[],") + "[]]\"}}"),
      file("{" + numbered(4098, entry) + last),
      file("{" + numbered(1000, whole) + last, std::string(9000, 'x')),
      file("{\"" + std::string(100000, 'x') + "\":1}"),
  };
}

/// The beginning of a .npy file of version 1.
std::string npy_header(const std::string& type, const std::string& shape) {
  const std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}\n", type, shape);
  return "\x93NUMPY\1" + std::string(1, '\0') + bytes_of(static_cast<uint16_t>(text.size())) + text;
}

/// An array of bytes as numpy pickles it.
std::string pickled_bytes(int32_t count) {
  return "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK" + std::string(1, '\0') +
         "\x85"
         "C\1btR(K\1J" +
         bytes_of(count) +
         "\x85"
         "cnumpy\ndtype\n(U\2u1tR\x89"
         "B" +
         bytes_of(count) + std::string(static_cast<size_t>(count), '\1') + "tb";
}

/// A dictionary of arrays, the outermost of which is one of objects.
std::string pickled_tags(const std::string& entries) {
  return npy_header("|O", "") +
         "\x80\2"
         "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK" +
         std::string(1, '\0') +
         "\x85"
         "C\1btR(K\1)cnumpy\ndtype\n(U\2O8tR\x89](}q" +
         std::string(1, '\0') + "(" + entries + "uetb.";
}

/// As `prepare tags` writes them for one class: what an entry unpacks to is the largest multiple of its
/// bytes.
std::string honest_tags(int images) {
  Tags tags;
  for (int i = 0; i < images; ++i) tags[std::to_string(i)] = {1};
  return encode_tags(tags);
}

Inputs npy() {
  std::string shared = "U\1a" + pickled_bytes(20000) + "q\1";
  for (int i = 0; i < 60; ++i) shared += "M" + bytes_of(static_cast<uint16_t>(i)) + "h\1";
  return {
      npy_header("|u1", "100000,") + std::string(100000, '\1'),
      npy_header("|u1", times(20000, "1,")) + "x",
      npy_header("|O", "") + "\x80\2" + std::string(65537, '('),
      npy_header("|O", "") + "\x80\2" + std::string(65537, ']'),
      npy_header("|O", "") + "\x80\2N" + std::string(65537, '\x94'),
      pickled_tags("U\1a" + pickled_bytes(100000)),
      pickled_tags(shared),
      // Nearly all that values may take, then a name as long as most of the file.
      npy_header("|O", "") + "\x80\2" + std::string(180000, '}') + "c" + std::string(600000, 'x') + "\nx\n",
      honest_tags(12000),
      honest_tags(100000),
  };
}

/// A checkpoint in the form before PyTorch 1.6, whose object is that pickle.
std::string legacy(const std::string& object, const std::string& storages = "") {
  return std::string("\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}.\x80\2") +
         object +
         ".\x80\2]U\1"
         "0a." +
         storages;
}

/// A zip file that lists so many entries and has none.
std::string listing(uint16_t entries) {
  std::string list;
  for (int i = 0; i < entries; ++i)
    list += "PK\1\2" + std::string(24, '\0') + bytes_of(uint16_t{4}) + std::string(16, '\0') +
            fmt::format("{:04x}", i);
  return "PK\3\4" + list + "PK\5\6" + std::string(4, '\0') + bytes_of(entries) + bytes_of(entries) +
         bytes_of(static_cast<uint32_t>(list.size())) + bytes_of(uint32_t{4}) + std::string(2, '\0');
}

Inputs pth() {
  using namespace std::string_literals;
  const std::string tensor =
      "ctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\nX\1\0\0\0"s
      "0U\3cpuK\1NtQK\0))\x89NtRq\1"s;
  std::string named = "}X\x84\3\0\0"s + std::string(900, 'n') + "}(";
  for (int i = 0; i < 2000; ++i) named += "M" + bytes_of(static_cast<uint16_t>(i)) + (i ? "h\1" : tensor);
  const std::string room(100000, 'x');  // behind the end
  // Nearly all that values may take, and thousands of storages for the table of storages.
  std::string storages = "U\7storageq\1ctorch\nFloatStorage\nq\2"s + std::string(125000, '}');
  for (int i = 0; i < 30000; ++i) storages += fmt::format("(h\1h\2X\5{:c}{:c}{:c}{:05}NK\1tQ0", 0, 0, 0, i);
  return {
      legacy(named + "us", room),
      legacy(std::string(65537, ']')),
      legacy("}" + times(20000, "(]t")),
      legacy(std::string(65537, '(')),
      legacy(storages),
      listing(2000),
  };
}

}  // namespace

Inputs greedy_inputs(const std::string& target) {
  if (target == "xml") return xml();
  if (target == "json") return json();
  if (target == "config") return config();
  if (target == "safetensors") return safetensors();
  if (target == "npy") return npy();
  if (target == "pth") return pth();
  return {};
}

}  // namespace scrawl
