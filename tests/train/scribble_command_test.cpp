#include "data/image.h"
#include "data/palette.h"
#include "tests/data/temporary_directory.h"
#include "tests/train/program.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

class ScribbleCommand : public testing::Test {
 protected:
  ScribbleCommand() {
    for (const char* id : {"a", "b"}) {
      LabelMap mask{40, 60, std::vector<uint8_t>(40 * 60)};
      for (int i = 0; i < 40 * 60; ++i) mask.labels[i] = i % 60 >= 30;
      write_label_map(root() / "masks" / (std::string(id) + ".png"), mask, voc_palette());
      write_jpeg(root() / "images" / (std::string(id) + ".jpg"),
                 {40, 60, std::vector<uint8_t>(40 * 60 * 3, 99)}, 90);
    }
    write_bytes(root() / "classes.txt", "grass\nsheep\n");
  }

  const fs::path& root() const { return directory_.path; }
  Outcome scribble(const std::string& more = "") const {
    return run_program(fmt::format("scribble --masks {0}/masks --out {0}/out {1}", root().string(), more),
                       root());
  }
  void expect_nothing_written() const {
    for (const char* name : {"out", "out_preview.png"}) EXPECT_FALSE(fs::exists(root() / name)) << name;
  }

 private:
  TemporaryDirectory directory_;
};

TEST_F(ScribbleCommand, WritesScribblesAPreviewAndAReport) {
  const Outcome outcome = scribble(fmt::format("--images {}/images --seed 7 --threads 2", root().string()));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* word : {"grass", "sheep", "100.00 %", "strokes", "too small"})
    EXPECT_NE(outcome.out.find(word), std::string::npos) << word << " not in:\n" << outcome.out;
  for (const char* id : {"a", "b"}) {
    const LabelMap map = read_label_map(root() / "out" / (std::string(id) + ".png"), 2);
    for (const uint8_t label : {0, 1}) EXPECT_GT(std::ranges::count(map.labels, label), 0) << id;
  }
  const int with_photos = read_image(root() / "out_preview.png").width;

  expect_refused(scribble(), {"/out", "not empty"});
  fs::remove_all(root() / "out");
  ASSERT_EQ(scribble().exit_code, 0);
  EXPECT_LT(read_image(root() / "out_preview.png").width, with_photos);

  fs::remove_all(root() / "out");
  EXPECT_NE(scribble("--drop 1").err.find("without any stroke: a, b"), std::string::npos);
}

TEST_F(ScribbleCommand, RefusesWhatItCannotUseBeforeItWrites) {
  expect_refused(scribble("--images " + (root() / "nowhere").string()), {"nowhere/a", "no such photo"});
  expect_nothing_written();
  write_jpeg(root() / "images/b.jpg", {30, 60, std::vector<uint8_t>(30 * 60 * 3)}, 90);
  expect_refused(scribble("--images " + (root() / "images").string()), {"b.jpg", "60 x 30", "60 x 40"});
  expect_nothing_written();
  write_bytes(root() / "classes.txt", "grass\n");
  expect_refused(scribble(), {"a.png", "label 1", "1 classes"});
  expect_nothing_written();
  for (const char* option :
       {"--shrink 1.5", "--drop -0.1", "--width 0", "--ignore-label 256", "--threads -1"})
    EXPECT_EQ(scribble(option).exit_code, 2) << option;
  expect_nothing_written();
}

TEST_F(ScribbleCommand, CtrlCLeavesNothingBehind) {
  for (int i = 0; i < 6000; ++i)  // work for longer than until it is interrupted
    fs::create_hard_link(root() / "masks/a.png", root() / "masks" / fmt::format("{}.png", i));
  const std::string command = fmt::format(
      "timeout --preserve-status -s INT 0.3 {0} scribble --masks {1}/masks --out {1}/out "
      "--threads 1",
      scrawl_binary().string(), root().string());
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 130);
  for (const auto& entry : fs::directory_iterator(root()))
    EXPECT_FALSE(entry.path().filename().string().starts_with("out")) << entry;
}

}  // namespace
}  // namespace scrawl
