#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/data/small_set.h"
#include "tests/train/program.h"

namespace scrawl {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Five training images; the last of them stands for validation, with a label map of its own in Masks.
class CheckCommand : public testing::Test {
 protected:
  CheckCommand() : set_(5) {
    write_bytes(root() / "ImageSets/train.txt", "s0\ns1\ns2\ns3\n");
    write_bytes(root() / "ImageSets/val.txt", "s4\n");
    const Image photo = SmallSet::image(4);
    std::vector<uint8_t> dense(size_t{1} * photo.height * photo.width);
    for (size_t i = 0; i < dense.size(); ++i) dense[i] = static_cast<uint8_t>(i % 4);
    write_label_map(root() / "Masks/s4.png", {photo.height, photo.width, dense}, Palette{});
    write_bytes(root() / "classes.txt", "ground\ncat\ndog\nfox\n");
    write_bytes(root() / "check.yaml", "model: {pretrained: false}\n");
  }

  const std::filesystem::path& root() const { return set_.root(); }
  Outcome check(const std::string& more = "") const {
    return run_program(
        fmt::format("check {0}/check.yaml --set dataset.data_root={0} --set dataset.num_classes=4 "
                    "--set dataset.val_label_path=Masks --set dataset.batch_size=4 {1}",
                    root().string(), more),
        root());
  }

 private:
  SmallSet set_;
};

TEST_F(CheckCommand, ShowsTablesAndWarningsAndExitsWith0WhenTrainingCanStart) {
  const Outcome outcome = check();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("checking the training set"));
  for (const char* words : {"labelled pixels", "ground", "fox", "warning: no training label map shows ground",
                            "training can start"})
    EXPECT_THAT(outcome.out, HasSubstr(words));
  EXPECT_THAT(outcome.out, Not(HasSubstr("scribbles, and scores")));
  EXPECT_THAT(check("--set dataset.val_label_path=ScribbleLabels").out, HasSubstr("scribbles, and scores"));
}

TEST_F(CheckCommand, ListsAFewFaultsOfEachKindAndExitsWith2) {
  std::string list;
  for (int i = 0; i < 9; ++i) list += fmt::format("x{}\n", i);
  write_bytes(root() / "ImageSets/train.txt", "s0\n" + list);
  const Outcome outcome = check();
  expect_refused(outcome, {"training could not work", "JPEGImages/x0", "17 more"});
  EXPECT_THAT(outcome.out, HasSubstr("missing: 18"));
  EXPECT_THAT(outcome.out, HasSubstr("ScribbleLabels/x0.png"));
  EXPECT_THAT(outcome.out, HasSubstr("… and 13 more"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("JPEGImages/x8")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("training can start")));
}

TEST_F(CheckCommand, PrintsJsonWithEveryFault) {
  nlohmann::json json = nlohmann::json::parse(check("--json").out);
  EXPECT_EQ(json["trainable"], true);
  EXPECT_TRUE(json["obstacle"].is_null());
  EXPECT_EQ(json["warnings"].size(), 1u);
  EXPECT_EQ(json["training"]["images"], 4);
  EXPECT_EQ(json["training"]["labelled_pixels"], 4);
  EXPECT_EQ(json["training"]["width"]["max"], 30);
  EXPECT_EQ(json["training"]["classes"][1],
            (nlohmann::json{{"index", 1}, {"name", "cat"}, {"images", 2}, {"pixels", 2}}));
  EXPECT_EQ(json["validation"]["labelled_share"], 1.0);

  write_bytes(root() / "ImageSets/train.txt", "s0\ns1\ns2\n\xFF\ns3\n");  // an id that is no UTF-8
  const Outcome outcome = check("--json");
  expect_refused(outcome, {"training could not work"});
  json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["trainable"], false);
  EXPECT_THAT(json["obstacle"].get<std::string>(), HasSubstr("no such image"));
  ASSERT_EQ(json["training"]["faults"].size(), 2u);
  EXPECT_EQ(json["training"]["faults"][1]["kind"], "missing");
}

TEST_F(CheckCommand, GoesOnWithTheOtherSetWhenOneIsBroken) {
  const Outcome outcome = check("--set dataset.val_label_path=Nowhere");
  expect_refused(outcome, {"Nowhere", "no such directory"});
  EXPECT_THAT(outcome.out, HasSubstr("fox"));
  EXPECT_TRUE(
      nlohmann::json::parse(check("--set dataset.val_label_path=Nowhere --json").out)["validation"].contains(
          "broken"));
}

TEST_F(CheckCommand, SaysWhatElseTrainingNeeds) {
  expect_refused(check("--set model.pretrained=true --set work_dir.pre_weight=" + root().string()),
                 {"mit_b1"});
  expect_refused(check("--set dataset.batch_size=5"), {"4 images", "batch of 5"});
  write_bytes(root() / "classes.txt", "ground\ncat\n");
  expect_refused(check(), {"classes.txt", "2 classes"});
  expect_refused(check("--set dataset.colour=1"), {"dataset.colour"});
}

}  // namespace
}  // namespace scrawl
