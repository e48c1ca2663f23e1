#include "engine/files.h"

#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

TEST(Files, AreNotWrittenOverFolders) {
  const TemporaryDirectory directory;
  fs::create_directory(directory.path / "taken");
  expect_input_error([&] { write_file_atomically(directory.path / "taken", [](std::ostream&) {}); },
                     {"taken", "expected the name of a file", "folder"});
}

TEST(Files, TemporariesOfAFileAreRemovedAndNothingElse) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path / "a.txt";
  for (const char* name : {"a.txt.12.tmp", "a.txt.3.tmp"}) write_bytes(directory.path / name, "half");
  for (const char* name : {"a.txt", "a.txt.tmp", "a.txt..tmp", "a.txt.b.tmp", "aa.txt.1.tmp", "a.txt.1.tmp2"})
    write_bytes(directory.path / name, "whole");
  remove_temporaries(file);
  const auto left = std::distance(fs::directory_iterator(directory.path), fs::directory_iterator());
  EXPECT_EQ(left, 6);
  for (const auto& entry : fs::directory_iterator(directory.path))
    EXPECT_EQ(read_file(entry), "whole") << entry;
  remove_temporaries(directory.path / "nowhere" / "a.txt");
}

}  // namespace
}  // namespace scrawl
