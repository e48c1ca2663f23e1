// The other direction of data/tags.cpp: the pickle that NumPy's own numpy.save would write, in protocol 4,
// which NumPy reads since Python 3.4.  Opcodes: CPython, Lib/pickletools.py.
#include <algorithm>
#include <bit>
#include <cstring>

#include "data/tags.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

// clang-format off
enum Op : char {
  kProtocol = '\x80', kStop = '.', kMark = '(',
  kTuple = 't', kEmptyTuple = ')', kTuple1 = '\x85', kTuple3 = '\x87', kEmptyList = ']', kAppend = 'a',
  kEmptyDict = '}', kSetItems = 'u',
  kNone = 'N', kTrue = '\x88', kFalse = '\x89', kInt8 = 'K', kInt16 = 'M', kInt32 = 'J',
  kText8 = '\x8c', kText32 = 'X', kBytes8 = 'C', kBytes32 = 'B',
  kGlobal = '\x93', kReduce = 'R', kBuild = 'b', kMemoize = '\x94', kGet = 'h'
};
// clang-format on

class TagWriter {
 public:
  std::string write(const Tags& tags) {
    std::vector<std::string_view> ids;
    for (const auto& [id, vector] : tags) ids.push_back(id);
    std::ranges::sort(ids);  // equal tags give equal files
    put(kProtocol);
    integer(4, 1);
    // An array of no dimensions, whose one element is the dictionary.
    begin_array();
    put(kEmptyTuple);
    type("O8", "|", 63);
    put(kFalse, kEmptyList, kEmptyDict, kMark);
    for (const std::string_view id : ids) {
      run(kText8, kText32, id);
      vector(tags.at(std::string(id)));
    }
    put(kSetItems, kAppend);
    end_array();
    put(kStop);
    return std::move(out_);
  }

 private:
  template <typename... Ops>
  void put(Ops... ops) {
    (out_.push_back(static_cast<char>(ops)), ...);
  }
  void integer(int64_t value, size_t bytes) {
    static_assert(std::endian::native == std::endian::little);
    out_.append(reinterpret_cast<const char*>(&value), bytes);
  }
  /// A text or bytes: one opcode for up to 255 of them, another for more.
  void run(Op brief, Op longer, std::string_view content) {
    const bool fits = content.size() < 256;
    put(fits ? brief : longer);
    integer(std::ssize(content), fits ? 1 : 4);
    out_ += content;
  }

  /// Pushes what was written first under this name, or writes it now and remembers it.
  template <typename Write>
  void once(int& memo, Write write) {
    if (memo >= 0) {
      put(kGet);
      integer(memo, 1);
    } else {
      write();
      put(kMemoize);
      memo = remembered_++;
    }
  }
  void global(int& memo, std::string_view module, std::string_view name) {
    once(memo, [&] {
      run(kText8, kText32, module);
      run(kText8, kText32, name);
      put(kGlobal);
    });
  }

  /// Of an array: _reconstruct(ndarray, (0,), b"b"), then the state (1, shape, type, Fortran's order?, data),
  /// of which the caller writes all but the 1.
  void begin_array() {
    global(reconstruct_, "numpy.core.multiarray", "_reconstruct");
    once(empty_array_, [&] {
      global(ndarray_, "numpy", "ndarray");
      put(kInt8, 0, kTuple1);
      run(kBytes8, kBytes32, "b");
      put(kTuple3);
    });
    put(kReduce, kMark, kInt8, 1);
  }
  void end_array() { put(kTuple, kBuild); }

  /// dtype(name, False, True) with the state (3, order, None, None, None, -1, -1, flags)
  void type(std::string_view name, std::string_view order, int flags) {
    global(dtype_, "numpy", "dtype");
    run(kText8, kText32, name);
    put(kFalse, kTrue, kTuple3, kReduce, kMark, kInt8, 3);
    run(kText8, kText32, order);
    put(kNone, kNone, kNone);
    for (int i = 0; i < 2; ++i) {
      put(kInt32);
      integer(-1, 4);
    }
    put(kInt8, flags, kTuple, kBuild);
  }

  void vector(const std::vector<float>& values) {
    begin_array();
    put(kInt16);
    integer(std::ssize(values), 2);
    put(kTuple1);
    once(float_type_, [&] { type("f4", "<", 0); });
    put(kFalse);
    run(kBytes8, kBytes32, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
    end_array();
  }

  std::string out_;
  int remembered_ = 0;
  int reconstruct_ = -1, empty_array_ = -1, ndarray_ = -1, dtype_ = -1,
      float_type_ = -1;  // places in the memo
};

}  // namespace

std::string encode_tags(const Tags& tags) {
  // NumPy pads the header so that what follows begins at a multiple of 64.
  std::string header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }";
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\0", 8);
  file += static_cast<char>(header.size() & 255);
  file += static_cast<char>(header.size() >> 8);
  return file + header + TagWriter().write(tags);
}

void write_tags(const std::filesystem::path& path, const Tags& tags) {
  const std::string bytes = encode_tags(tags);
  write_file_atomically(path, [&](std::ostream& out) { out.write(bytes.data(), std::ssize(bytes)); });
}

}  // namespace scrawl
