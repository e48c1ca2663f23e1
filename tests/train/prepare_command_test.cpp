// Data sets of users as they bring them: annotations become one, and folders of any name are trained on.
#include <nlohmann/json.hpp>

#include "data/image.h"
#include "data/palette.h"
#include "data/tags.h"
#include "tests/data/temporary_directory.h"
#include "tests/train/program.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

class Prepare : public testing::Test {
 protected:
  Prepare() {
    for (const char* id : {"a", "b", "c"}) {
      Image photo{48, 40, std::vector<uint8_t>(size_t{3} * 48 * 40, 90)};
      std::fill_n(photo.pixels.begin(), photo.pixels.size() / 2, uint8_t{200});
      write_jpeg(root() / "photos" / (std::string(id) + ".jpg"), photo, 90);
    }
  }

  const fs::path& root() const { return directory_.path; }
  Outcome run(const std::string& arguments) const {
    return run_program(fmt::format(fmt::runtime(arguments), fmt::arg("root", root().string())), root());
  }
  void expect_nothing_written() const {
    for (const auto& entry : fs::directory_iterator(root()))
      EXPECT_FALSE(entry.path().filename().string().starts_with("out")) << entry.path();
  }

  void write_labelme() const {
    for (const char* id : {"a", "b", "c"}) {
      const auto stroke = [](const char* label, int y) {
        return nlohmann::json{
            {"label", label}, {"shape_type", "linestrip"}, {"points", {{5, y}, {20, y + 3}, {35, y}}}};
      };
      const nlohmann::json file{{"imagePath", "..\\photos\\" + std::string(id) + ".jpg"},
                                {"imageHeight", 48},
                                {"imageWidth", 40},
                                {"shapes", {stroke("sky", 6), stroke("_background_", 40)}}};
      write_bytes(root() / "json" / (std::string(id) + ".json"), file.dump());
    }
  }
  void write_scribblesup(const std::string& tag) const {
    write_bytes(
        root() / "xml" / "a.xml",
        "<annotation><polygon><tag>" + tag +
            "</tag><point><X>3</X><Y>5</Y></point><point><X>9</X><Y>5</Y></point></polygon></annotation>");
  }

  /// A network that trains in no time, on what is below `root`.
  void write_config(const std::string& data_root, const std::string& dataset) const {
    write_bytes(root() / "mine.yaml", fmt::format(R"(
model: {{backbone: custom, pretrained: false, embed_dims: [8, 8, 8, 8], depths: [1, 1, 1, 1], heads: [1, 1, 1, 1],
        decoder_embedding_dim: 8}}
dataset: {{data_root: {}, batch_size: 2, crop_size: 32, {}}}
work_dir: {{ckpt_dir: {}/runs}}
train: {{epoch: 1}}
)",
                                                  data_root, dataset, root().string()));
  }

 private:
  TemporaryDirectory directory_;
};

TEST_F(Prepare, MakesADataSetToTrainOn) {
  write_labelme();
  const Outcome made =
      run("prepare labelme --json {root}/json --images {root}/photos --out {root}/out --width 5");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  for (const char* words : {"background", "sky", "2 images to train on, 1 to validate on"})
    EXPECT_NE(made.out.find(words), std::string::npos) << words << " not in:\n" << made.out;
  EXPECT_EQ(read_file(root() / "out/report.txt"), made.out);
  EXPECT_NE(made.err.find("--set dataset.data_root=" + (root() / "out").string() + " --set"),
            std::string::npos);
  const LabelMap map = read_label_map(root() / "out/ScribbleLabels/b.png", 2);
  EXPECT_EQ(map.labels[6 * 40 + 5], 1);
  EXPECT_EQ(map.labels[40 * 40 + 5], 0);
  EXPECT_EQ(map.labels[20 * 40 + 5], kUnlabelled);
  expect_refused(run("prepare labelme --json {root}/json --images {root}/photos --out {root}/out"),
                 {"out", "not empty"});

  std::string colours = read_file(root() / "out/classes.txt");
  colours.replace(colours.find("sky"), std::string::npos, "sky 1 2 250\n");
  write_bytes(root() / "out/classes.txt", colours);
  write_config(root() / "out", "num_classes: 2");
  const Outcome trained = run("train {root}/mine.yaml");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_NE(trained.out.find("sky"), std::string::npos);
  ASSERT_EQ(
      run("predict --checkpoint {root}/runs/mine/last.safetensors --out {root}/masks {root}/photos/a.jpg")
          .exit_code,
      0);
  const LabelMap prediction = read_label_map(root() / "masks/a.png", 2);
  const Image seen = read_image(root() / "masks/a.png");
  for (size_t i = 0; i < prediction.labels.size(); ++i)
    ASSERT_EQ(seen.pixels[3 * i + 2], prediction.labels[i] == 1 ? 250 : 0)
        << "the class's colour, pixel " << i;

  expect_refused(run("train {root}/mine.yaml --fresh --set dataset.num_classes=3"),
                 {"classes.txt", "2 classes", "dataset.num_classes=2"});
}

TEST_F(Prepare, DrawsScribbleSupAndCvat) {
  write_scribblesup("plane");
  Outcome made = run("prepare scribblesup --xml {root}/xml --images {root}/photos --out {root}/out");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("1 images to train on, 0 to validate on"), std::string::npos) << made.out;
  LabelMap map = read_label_map(root() / "out/ScribbleLabels/a.png", 21);
  EXPECT_EQ(std::ranges::count(map.labels, 1), 3 * 7);
  EXPECT_EQ(map.labels[4 * 40 + 3], 1);

  write_bytes(root() / "task.xml",
              "<annotations><image name=\"a.jpg\" width=\"40\" height=\"48\">"
              "<box label=\"sun\" xtl=\"2\" ytl=\"3\" xbr=\"6\" ybr=\"5\"/></image></annotations>");
  write_bytes(root() / "names.txt", "ground\nmoon\nsun\n");
  made =
      run("prepare cvat --xml {root}/task.xml --images {root}/photos --out {root}/out2 --classes "
          "{root}/names.txt");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("warning: nothing is drawn on ground"), std::string::npos) << made.out;
  EXPECT_NE(made.out.find("never drawn: moon"), std::string::npos) << made.out;
  map = read_label_map(root() / "out2/ScribbleLabels/a.png", 3);
  EXPECT_EQ(std::ranges::count(map.labels, 2), 4 * 2);
  EXPECT_EQ(map.labels[3 * 40 + 2], 2);
}

TEST_F(Prepare, BadInputLeavesNothingBehind) {
  const std::string to_out = " --images {root}/photos --out {root}/out";
  expect_refused(run("prepare scribblesup --xml {root}/nowhere" + to_out), {"nowhere", "no such folder"});
  write_scribblesup("zebra");
  expect_refused(run("prepare scribblesup --xml {root}/xml" + to_out), {"'a'", "'zebra'"});
  expect_refused(run("prepare scribblesup --xml {root}/xml --width 4" + to_out), {"--width 4", "odd"});
  write_bytes(root() / "xml/b.xml", "<annotation><polygon>");
  expect_refused(run("prepare scribblesup --xml {root}/xml" + to_out), {"b.xml", "not valid XML"});
  expect_refused(run("prepare scribblesup --xml {root}/photos" + to_out), {"photos", "no .xml files"});
  EXPECT_EQ(run("prepare").exit_code, 2);
  EXPECT_EQ(run("prepare tags --out {root}/out.npy").exit_code, 2);
  expect_refused(run("prepare tags --xml {root}/xml --out {root}/out.npy"), {"b.xml"});
  write_bytes(root() / "out_file", "");
  fs::rename(root() / "out_file", root() / "taken");
  write_scribblesup("cat");
  fs::remove(root() / "xml/b.xml");
  expect_refused(run("prepare scribblesup --xml {root}/xml --images {root}/photos --out {root}/taken"),
                 {"taken", "file"});
  expect_nothing_written();
}

TEST_F(Prepare, NamesFoldersAsAShellReadsThem) {
  write_labelme();
  const Outcome made =
      run("prepare labelme --json {root}/json --images {root}/photos --out \"{root}/my Bär's\"");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.err.find("dataset.data_root='" + root().string() + "/my Bär'\\''s' "), std::string::npos)
      << made.err;
}

TEST_F(Prepare, SaysWhenAllThatThereIsCannotBeShown) {
  const nlohmann::json mask{{"label", "sky"}, {"shape_type", "mask"}, {"points", {{5, 5}, {9, 9}}}};
  write_bytes(root() / "json/a.json", nlohmann::json{{"imagePath", "a.jpg"}, {"shapes", {mask}}}.dump());
  expect_refused(run("prepare labelme --json {root}/json --images {root}/photos --out {root}/out"),
                 {"nothing is drawn", "1 of kind 'mask'"});
  expect_nothing_written();
}

TEST_F(Prepare, WritesTags) {
  write_label_map(root() / "labels/a.png", {1, 3, {0, 2, 255}}, voc_palette());
  const Outcome made = run("prepare tags --scribbles {root}/labels --out {root}/cls_labels.npy");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("1 images, 20 classes"), std::string::npos) << made.out;
  std::vector<float> expected(20);
  expected[1] = 1;
  EXPECT_EQ(read_tags(root() / "cls_labels.npy"), (Tags{{"a", expected}}));
}

TEST_F(Prepare, FoldersOfAnyNameAndOneListAreTrainedOn) {
  for (const char* id : {"a", "b", "c"}) {
    LabelMap map{48, 40, std::vector<uint8_t>(48 * 40, kUnlabelled)};
    std::fill_n(map.labels.begin() + 400, 60, uint8_t{1});
    std::fill_n(map.labels.begin() + 1400, 60, uint8_t{0});
    write_label_map(root() / "mine/strokes" / (std::string(id) + ".png"), map, voc_palette());
  }
  fs::rename(root() / "photos", root() / "mine/camera");
  fs::rename(root() / "mine/camera/a.jpg", root() / "mine/camera/a.JPG");
  write_bytes(root() / "mine/all.txt", "a\nb\nc\n");
  write_config(root() / "mine",
               "num_classes: 2, image_path: camera, label_path: strokes, train_data_list: all.txt");
  const Outcome trained = run("train {root}/mine.yaml");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_NE(trained.err.find("3 validation images are in the training list too"), std::string::npos)
      << trained.err;
  EXPECT_TRUE(fs::exists(root() / "runs/mine/contact_sheet.png"));
  // A list of that name is wanted where one is given.
  expect_refused(run("train {root}/mine.yaml --fresh --set dataset.val_data_list=val.txt"),
                 {"val.txt", "no such file"});
}

}  // namespace
}  // namespace scrawl
