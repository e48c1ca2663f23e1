// The program as users run it: bad input ends in one line on standard error and exit code 2, and nothing is
// written.
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/image.h"
#include "data/label_map.h"
#include "data/palette.h"
#include "engine/files.h"
#include "tests/paths.h"
#include "tests/train/program.h"
#include "tests/train/tiny_run.h"
#include "train/checkpoint.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

class Commands : public TinyRun {
 protected:
  static Outcome scrawl(const std::string& arguments) { return run_program(arguments, root()); }

  /// A configuration file for `data`, and what `scrawl train` says about it.
  static Outcome train(const fs::path& data, const std::string& more = "") {
    std::ofstream(root() / "case.yaml") << describe(config("case"));
    return scrawl(fmt::format("train {} --fresh --set dataset.data_root={} {}",
                              (root() / "case.yaml").string(), data.string(), more));
  }

  /// A copy of the data set to spoil.
  static fs::path copy_of_data() {
    const fs::path data = root() / "spoiled";
    fs::remove_all(data);
    fs::copy(root() / "data", data, fs::copy_options::recursive);
    return data;
  }

  static std::string first_train_id() {
    std::ifstream list(root() / "data" / "ImageSets" / "train.txt");
    std::string id;
    std::getline(list, id);
    return id;
  }

  /// One line with these words, exit code 2, and no checkpoint written (but for those in `kept`).
  static void expect_refusal(const Outcome& outcome, const std::vector<std::string>& words,
                             const fs::path& kept = {}) {
    expect_refused(outcome, words);
    EXPECT_EQ(fs::exists(root() / "runs" / "case" / "last.safetensors"), !kept.empty());
  }
};

TEST_F(Commands, TrainEvalPredictInspectWorkTogether) {
  ASSERT_EQ(train(root() / "data", "--profile").exit_code, 0);
  const fs::path run = root() / "runs" / "case";
  for (const char* file : {"config.yaml", "history.jsonl", "last.safetensors", "best_without.safetensors",
                           "result.json", "contact_sheet.png"})
    EXPECT_TRUE(fs::exists(run / file)) << file;

  const std::string checkpoint = (run / "last.safetensors").string();
  const Outcome eval =
      scrawl(fmt::format("eval {} --checkpoint {} --json", (run / "config.yaml").string(), checkpoint));
  EXPECT_EQ(eval.exit_code, 0) << eval.err;
  EXPECT_NE(eval.out.find("\"miou\""), std::string::npos);

  const fs::path photo = root() / "data" / "JPEGImages" / (first_train_id() + ".jpg");
  const fs::path out = root() / "predictions";
  EXPECT_EQ(
      scrawl(fmt::format("predict --checkpoint {} --out {} {}", checkpoint, out.string(), photo.string()))
          .exit_code,
      0);
  const LabelMap prediction = read_label_map(out / (first_train_id() + ".png"), 7);
  EXPECT_EQ(prediction.height, 64);
  EXPECT_EQ(prediction.width, 64);
  EXPECT_EQ(read_image(out / (first_train_id() + "_overlay.png")).width, 64);

  const Outcome inspect = scrawl("inspect " + checkpoint);
  EXPECT_EQ(inspect.exit_code, 0);
  EXPECT_NE(inspect.out.find("encoder.patch_embed1.proj.weight"), std::string::npos);

  expect_refusal(scrawl(fmt::format("eval {} --checkpoint {} --set model.depths=[1,1,2,1]",
                                    (run / "config.yaml").string(), checkpoint)),
                 {"checkpoint of another model", "depths [1,1,1,1]", "[1,1,2,1]"}, run);
  fs::remove_all(run);
}

TEST_F(Commands, WeightsGoOutAndComeBackIn) {
  const fs::path run = root() / "runs" / "case", out = root() / "exports";
  ASSERT_EQ(train(root() / "data", "--set train.epoch=3").exit_code, 0);
  const auto write = [&](const char* format, const char* name) {
    const Outcome outcome =
        scrawl(fmt::format("export --checkpoint {} --format {} --out {}", (run / "last.safetensors").string(),
                           format, (out / name).string()));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return out / name;
  };
  const auto scores = [&](const fs::path& checkpoint) {
    const Outcome outcome = scrawl(
        fmt::format("eval {} --checkpoint {} --json", (run / "config.yaml").string(), checkpoint.string()));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string last = scores(run / "last.safetensors");
  EXPECT_EQ(scores(write("safetensors", "own.safetensors")), last);
  // The published form has no prototypes, hence no global predictions.
  const fs::path published = write("published", "published.pth");
  const std::string plain_and_local = scores(published);
  EXPECT_NE(plain_and_local.find("\"local\""), std::string::npos);
  const std::string plain = scores(write("huggingface", "hf"));
  EXPECT_EQ(plain.find("\"local\""), std::string::npos) << "there is no feature augmentation to predict with";
  EXPECT_NE(scrawl("inspect " + published.string()).out.find("decoder.linear_pred.weight"),
            std::string::npos);
  expect_refusal(scrawl(fmt::format("export --checkpoint {} --format published --out {}", published.string(),
                                    (out / "x.bin").string())),
                 {"x.bin", ".pth"}, run);

  // A new run starts from them, and goes on without them.
  const std::string from = " --set model.pretrained=true --set work_dir.pre_weight=";
  const Outcome started = train(root() / "data", "--set train.epoch=1" + from + (out / "hf").string());
  EXPECT_EQ(started.exit_code, 0) << started.err;
  EXPECT_NE(started.err.find("Hugging Face's names"), std::string::npos) << started.err;
  fs::remove_all(out);
  const std::string resume =
      fmt::format("train {} --resume --set train.epoch=2", (run / "config.yaml").string());
  const Outcome resumed = scrawl(resume);
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(Checkpoint(run / "last.safetensors").info().model.block_norm_eps, 1e-5f)
      << "not the weights' eps";
  fs::remove_all(run);
  expect_refusal(train(root() / "data", from + (out / "gone.pth").string()),
                 {"gone.pth", "model.pretrained=false"});
}

TEST_F(Commands, MissingFilesAndFoldersAreNamed) {
  expect_refusal(scrawl("train nowhere.yaml"), {"nowhere.yaml", "no such file"});
  expect_refusal(train(root() / "nowhere"), {"nowhere"});
  const fs::path data = copy_of_data();
  fs::remove_all(data / "ScribbleLabels");
  expect_refusal(train(data), {"ScribbleLabels"});
  expect_refusal(train(root() / "data", "--set dataset.train_data_list=other.txt"), {"other.txt"});
}

TEST_F(Commands, AnEmptyListIsRefused) {
  const fs::path data = copy_of_data();
  std::ofstream(data / "ImageSets" / "train.txt").close();
  expect_refusal(train(data), {"train.txt", "empty"});
}

TEST_F(Commands, UnreadableAndTruncatedImagesAreNamed) {
  const fs::path data = copy_of_data(), photo = data / "JPEGImages" / (first_train_id() + ".jpg");
  const std::string bytes = read_file(photo);
  std::ofstream(photo, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  expect_refusal(train(data), {photo.filename().string()});
  std::ofstream(photo, std::ios::binary) << "not a photo";
  expect_refusal(train(data), {photo.filename().string()});
}

TEST_F(Commands, LabelsThatDoNotFitAreNamed) {
  const fs::path data = copy_of_data(), label = data / "ScribbleLabels" / (first_train_id() + ".png");
  write_label_map(label, {32, 64, std::vector<uint8_t>(32 * 64, 0)}, voc_palette());
  expect_refusal(train(data), {first_train_id(), "64", "32"});
  write_label_map(label, {64, 64, std::vector<uint8_t>(64 * 64, 9)}, voc_palette());
  expect_refusal(train(data), {label.filename().string(), "9", "7"});
  write_png(label, {64, 64, std::vector<uint8_t>(64 * 64 * 3, 1)});
  expect_refusal(train(data), {label.filename().string(), "RGB"});
}

TEST_F(Commands, ASetWithoutALabelledPixelIsRefused) {
  const fs::path data = copy_of_data();
  for (const auto& label : fs::directory_iterator(data / "ScribbleLabels"))
    write_label_map(label, {64, 64, std::vector<uint8_t>(64 * 64, kUnlabelled)}, voc_palette());
  expect_refusal(train(data), {"ScribbleLabels", "no", "labelled pixel"});
}

TEST_F(Commands, ConfigurationsThatCannotTrainAreRefused) {
  const fs::path data = root() / "data";
  expect_refusal(train(data, "--set dataset.batchsize=4"),
                 {"dataset.batchsize", "did you mean 'dataset.batch_size'"});
  expect_refusal(train(data, "--set dataset.batch_size=many"), {"dataset.batch_size", "many"});
  expect_refusal(train(data, "--set dataset.crop_size=16"), {"crop_size", "16", "29"});
  expect_refusal(train(data, "--set dataset.num_classes=0"), {"num_classes", "0"});
  expect_refusal(train(data, "--set dataset.batch_size=100"), {"batch_size", "100", "8"});
  expect_refusal(train(data, "--device cuda"), {"cuda"});
  expect_refusal(train(data, "--resume"), {"--resume", "--fresh"});
}

TEST_F(Commands, CommandLinesThatCannotBeUnderstoodSayWhatToMend) {
  expect_refusal(scrawl(""), {"expected a command", "train, eval", "scrawl --help"});
  expect_refusal(scrawl("prepare"), {"expected a command", "scribblesup, labelme", "scrawl prepare --help"});
  for (const char* line : {"trian a.yaml", "trian --help"})
    expect_refusal(scrawl(line), {"no command 'trian'", "did you mean 'train'"});
  expect_refusal(scrawl("prepare labelmee --json x"), {"no command 'labelmee'", "did you mean 'labelme'"});
  expect_refusal(scrawl("train"), {"config is required", "scrawl train --help"});
  expect_refusal(scrawl("train --resum"), {"no option '--resum'", "did you mean '--resume'"});
  expect_refusal(scrawl("--threads 2 train a.yaml"), {"--threads behind the command"});
  expect_refusal(scrawl("info more"), {"'more'", "scrawl info --help"});
  expect_refusal(scrawl("train a.yaml --threads -1"), {"--threads", "-1"});
  expect_refusal(scrawl("prepare tags --mask x"), {"did you mean '--masks'"});
  expect_refusal(scrawl("prepare tags --out x"), {"--xml", "--masks", "scrawl prepare tags --help"});
}

TEST_F(Commands, HelpIsEverywhere) {
  for (const char* line :
       {"--help", "train --help", "eval --help", "predict --help", "demo --help", "replay --help",
        "check --help", "scribble --help", "inspect --help", "export --help", "info --help", "prepare --help",
        "prepare tags --help", "bench step --help", "train nowhere.yaml --help"}) {
    const Outcome outcome = scrawl(line);
    EXPECT_EQ(outcome.exit_code, 0) << line;
    EXPECT_FALSE(outcome.out.empty()) << line;
  }
}

TEST_F(Commands, FoldersThatCannotBeMadeAreNamed) {
  const fs::path file = root() / "a_file";
  std::ofstream(file) << "not a folder";
  expect_refusal(train(root() / "data", "--set work_dir.ckpt_dir=" + file.string()), {"a_file"});
  expect_refusal(scrawl("demo --out " + (file / "demo").string()), {"a_file"});
}

TEST_F(Commands, ImagesTooSmallForTheNetworkArePadded) {
  const fs::path data = root() / "small";
  draw_demo_set(data, {.train_images = 4, .val_images = 1, .size = 64, .seed = 6});
  for (const auto& photo : fs::directory_iterator(data / "JPEGImages")) {
    write_jpeg(photo, {20, 9, std::vector<uint8_t>(20 * 9 * 3, 100)}, 90);
    for (const char* folder : {"ScribbleLabels", "SegmentationClass"})
      write_label_map(data / folder / photo.path().filename().replace_extension(".png"),
                      {20, 9, std::vector<uint8_t>(20 * 9, 1)}, voc_palette());
  }
  const Outcome outcome = train(data);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const fs::path run = root() / "runs" / "case", out = root() / "small_predictions";
  const std::string checkpoint = (run / "last.safetensors").string();
  EXPECT_EQ(scrawl(fmt::format("predict --checkpoint {} --out {} {}", checkpoint, out.string(),
                               (data / "JPEGImages" / "demo_0000.jpg").string()))
                .exit_code,
            0);
  const LabelMap prediction = read_label_map(out / "demo_0000.png", 7);
  EXPECT_EQ(prediction.height, 20);
  EXPECT_EQ(prediction.width, 9);
  EXPECT_EQ(scrawl(fmt::format("eval {} --whole --checkpoint {}", (run / "config.yaml").string(), checkpoint))
                .exit_code,
            0);
  fs::remove_all(run);
}

TEST_F(Commands, FilesThatAreNoCheckpointsAreRefused) {
  const std::string other = fixture("torch_values.safetensors").string();
  const std::string photo = (root() / "data/JPEGImages" / (first_train_id() + ".jpg")).string();
  expect_refusal(scrawl("predict --checkpoint " + other + " --out x " + photo),
                 {"no weights of a SegFormer"});
  for (const char* name : {"hostile.npy", "hostile_zip.pth"})
    expect_refusal(scrawl("inspect " + fixture(name).string()),
                   {name, "posix.system", "nothing was executed"});
  expect_refusal(scrawl("inspect " + fixture("truncated_zip.pth").string()),
                 {"truncated_zip.pth", "cut short"});
  EXPECT_FALSE(fs::exists("/tmp/scrawl_was_here"));
  expect_refusal(scrawl("inspect " + (test_directory() / "CMakeLists.txt").string()), {"CMakeLists.txt"});
}

TEST_F(Commands, PredictRefusesWhatIsNoImageBeforeItWrites) {
  ASSERT_EQ(train(root() / "data", "--set train.epoch=1").exit_code, 0);
  const fs::path run = root() / "runs" / "case", out = root() / "none", other = root() / "case.yaml";
  expect_refusal(
      scrawl(fmt::format("predict --checkpoint {} --out {} {} {}", (run / "last.safetensors").string(),
                         out.string(), (root() / "data/JPEGImages" / (first_train_id() + ".jpg")).string(),
                         other.string())),
      {"case.yaml", "cannot be read as an image"}, run);
  EXPECT_FALSE(fs::exists(out));
  fs::remove_all(run);
}

TEST_F(Commands, NothingIsWrittenOverWhatItIsMadeOf) {
  ASSERT_EQ(train(root() / "data", "--set train.epoch=1").exit_code, 0);
  const fs::path run = root() / "runs" / "case", photos = root() / "photos";
  const std::string checkpoint = (run / "last.safetensors").string(), before = read_file(checkpoint);
  for (const char* name : {"a.png", "b_overlay.png", "b.jpg"}) {
    fs::create_directories(photos);
    write_png(photos / name, {9, 9, std::vector<uint8_t>(9 * 9 * 3, 50)});
  }
  const auto predict = [&](const fs::path& out, const std::vector<std::string>& names) {
    std::string line = fmt::format("predict --checkpoint {} --out {}", checkpoint, out.string());
    for (const std::string& name : names) line += " " + (photos / name).string();
    return scrawl(line);
  };
  const std::string photo = read_file(photos / "a.png");
  expect_refusal(predict(photos, {"b.jpg", "a.png"}), {"over the photo", "a.png"}, run);
  EXPECT_EQ(read_file(photos / "a.png"), photo);
  expect_refusal(predict(photos, {"b.jpg", "b_overlay.png"}), {"b_overlay.png", "another image"}, run);
  EXPECT_EQ(read_file(photos / "b_overlay.png"), photo);
  expect_refusal(scrawl(fmt::format("export --checkpoint {0} --format safetensors --out {0}", checkpoint)),
                 {"last.safetensors", "checkpoint itself"}, run);
  EXPECT_EQ(read_file(checkpoint), before);
  fs::remove_all(run);
}

TEST_F(Commands, MessagesFitOnAScreen) {
  std::ofstream(root() / "long.yaml") << "seed: \"" + std::string(60000, 'x') + "\\n\"";
  const Outcome outcome = scrawl("check " + (root() / "long.yaml").string());
  expect_refusal(outcome, {"long.yaml:1: seed: expected an integer", "xxx … xxx", "'"});
  EXPECT_LT(outcome.err.size(), 1000u);
}

TEST_F(Commands, TheDemoWritesIntoItsFolderHoweverItIsNamed) {
  const std::string brief = " --set train.epoch=1 --set prototype.use_epoch=0 --set dataset.crop_size=32";
  const fs::path out = root() / "demo";
  for (const std::string& name : {out.string(), out.string() + "/", out.string() + "/../demo/."}) {
    const Outcome outcome = scrawl("demo --out " + name + brief);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    for (const char* file : {"result.json", "contact_sheet.png", "last.safetensors", "data/classes.txt"})
      EXPECT_TRUE(fs::remove(out / file)) << file << " for --out " << name;
  }
}

TEST_F(Commands, BenchMeasuresEveryCombinationAndItsKernels) {
  const std::string small = " --crop 32 --warmup 2 --steps 2 --json --threads 1";
  const Outcome step = scrawl("bench step --backbone mit_b0 --batch 1 2 --phase without global" + small);
  ASSERT_EQ(step.exit_code, 0) << step.err;
  const auto steps = nlohmann::json::parse(step.out).at("steps");
  ASSERT_EQ(steps.size(), 4u);
  for (const auto& row : steps) {
    EXPECT_LE(row.at("min_ms"), row.at("ms"));
    EXPECT_LE(row.at("ms"), row.at("max_ms"));
    EXPECT_GT(row.at("floor_ms"), 0.0);
    EXPECT_GT(row.at("peak_mib"), 1.0);
  }
  EXPECT_GT(steps[1].at("kernels"), steps[0].at("kernels"));      // the prototype branches
  EXPECT_GT(steps[2].at("megabytes"), steps[0].at("megabytes"));  // the larger batch

  const Outcome kernels = scrawl("bench kernels attention --backbone mit_b0 --batch 1" + small);
  ASSERT_EQ(kernels.exit_code, 0) << kernels.err;
  int64_t calls = 0;
  const auto rows = nlohmann::json::parse(kernels.out).at("kernels");
  for (const auto& row : rows)
    if (row.at("kernel") == "attention.forward") calls += row.at("calls").get<int64_t>();
  EXPECT_EQ(calls, 8);  // one a block
  EXPECT_FALSE(rows.front().contains("library_us"));  // there is none to compare with but on GPUs
  expect_refusal(scrawl("bench kernels nonsense --backbone mit_b0" + small),
                 {"'nonsense'", "attention.forward"});
  expect_refusal(scrawl("bench step --crop 20"), {"--crop 20", "29"});
  for (const char* of_a_gpu : {"--portable", "--conv cudnn"})
    expect_refusal(scrawl(fmt::format("bench step --device cpu {}", of_a_gpu)), {of_a_gpu, "got cpu"});
}

TEST_F(Commands, ReplayExitsWith1WhenNumbersDiffer) {
  const fs::path copy = root() / "golden";
  fs::copy(golden("tiny"), copy);
  EXPECT_EQ(scrawl("replay " + copy.string()).exit_code, 0);
  const Outcome none = scrawl("replay " + root().string());
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_EQ(none.err, "scrawl: " + (root() / "case.json").string() + ": no such file\n");
  std::string text = read_file(copy / "case.json");
  text.replace(text.find("\"local_con\": 0.02"), 17, "\"local_con\": 0.03");
  std::ofstream(copy / "case.json") << text;
  EXPECT_EQ(scrawl("replay --json " + copy.string()).exit_code, 1);
}

}  // namespace
}  // namespace scrawl
