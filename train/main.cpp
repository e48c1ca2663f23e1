// The command line: one subcommand each for what the program does.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "engine/error.h"
#include "train/commands/commands.h"
#include "train/commands/misuse.h"
#include "train/interrupt.h"

namespace {

using namespace scrawl;

void add_threads(CLI::App& app, int& threads) {
  app.add_option("--threads", threads, "threads to work with; 0 takes all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

void add_device_options(CLI::App& app, DeviceOptions& options) {
  app.add_option("--device", options.name, "where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "simt"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads of the cpu device; 0 takes all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--conv", options.conv,
                 "convolutions and batch norms of the GPU: our own kernels or cuDNN's")
      ->check(CLI::IsMember({"own", "cudnn"}))
      ->capture_default_str();
  app.add_flag("--portable", options.portable,
               "kernels that every GPU has, without those made for one kind (Hopper)");
  app.add_flag("--synchronise", options.synchronise,
               "wait after every kernel of the GPU, so that a failing one is named");
}

void add_overrides(CLI::App& app, std::vector<std::string>& overrides) {
  app.add_option("--set", overrides, "override a key of the configuration, KEY=VALUE; may be repeated")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

/// Adds a command whose options live as long as the app does.
template <typename Options, typename Declare, typename Run>
void add_command(CLI::App& app, const char* name, const char* what, int& exit_code, Declare declare,
                 Run run) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(name, what);
  declare(*command, *options);
  command->callback([options, run, &exit_code] { exit_code = run(*options); });
}

/// One kind of annotations: where they are, and where their images are unless that is the same folder.
void add_prepare_command(CLI::App& prepare, AnnotationFormat format, const char* name, const char* what,
                         const char* annotations, const char* where, int& exit_code) {
  add_command<PrepareOptions>(
      prepare, name, what, exit_code,
      [=](CLI::App& command, PrepareOptions& o) {
        o.format = format;
        command.add_option(annotations, o.annotations, where)->required();
        command.add_option("--images", o.images,
                           "folder of the annotated images; else that of the annotations");
        command.add_option("--out", o.out, "folder to write the data set to")->required();
        command.add_option("--width", o.width, "of strokes and points, an odd number of pixels")
            ->check(CLI::Range(1, 99))
            ->capture_default_str();
        command.add_option("--classes", o.classes, "classes.txt: a name a line, with or without a colour");
        command.add_option("--val", o.val_list, "list of images to validate on; else every tenth");
        command.add_option("--masks", o.masks, "folder of dense masks to validate with");
        command.add_flag("--copy", o.copy_images, "copy the images instead of linking to their folder");
      },
      prepare_command);
}

void add_prepare_commands(CLI::App& app, int& exit_code) {
  CLI::App* prepare =
      app.add_subcommand("prepare", "make a data set, or its image-level tags, of what users have");
  prepare->require_subcommand(1);
  add_prepare_command(*prepare, AnnotationFormat::scribblesup, "scribblesup",
                      "draw the original scribbles of ScribbleSup", "--xml", "folder of XML files, or one",
                      exit_code);
  add_prepare_command(*prepare, AnnotationFormat::labelme, "labelme", "draw annotations made with LabelMe",
                      "--json", "folder of JSON files, or one", exit_code);
  add_prepare_command(*prepare, AnnotationFormat::cvat, "cvat", "draw annotations made with CVAT", "--xml",
                      "XML file of \"CVAT for images\", or a folder of them", exit_code);
  add_command<PrepareTagsOptions>(
      *prepare, "tags", "write image-level tags (cls_labels.npy)", exit_code,
      [](CLI::App& command, PrepareTagsOptions& o) {
        auto* from = command.add_option_group("from");
        from->add_option("--xml", o.objects, "folder of VOC annotations, whose objects have names");
        from->add_option("--masks,--scribbles", o.labels, "folder of label maps, dense masks or scribbles");
        from->require_option(1);
        command.add_option("--out", o.out, "file to write")->required();
        command.add_option("--classes", o.classes, "classes.txt: a name a line; else VOC's");
        command.add_option("--ignore-label", o.ignore_label, "of unlabelled pixels")
            ->check(CLI::Range(0, 255))
            ->capture_default_str();
      },
      prepare_tags_command);
}

void add_commands(CLI::App& app, int& exit_code) {
  add_command<TrainOptions>(
      app, "train", "train as a configuration file says", exit_code,
      [](CLI::App& command, TrainOptions& o) {
        command.add_option("config", o.config, "configuration file (configs/*.yaml)")->required();
        add_overrides(command, o.overrides);
        add_device_options(command, o.device);
        command.add_flag("--resume", o.resume, "go on with the run in its folder");
        command.add_flag("--fresh", o.fresh, "start over, replacing the run in its folder");
        command.add_flag("--profile", o.profile, "print time, GB/s and GFLOP/s of every kernel at the end");
      },
      train_command);
  add_command<EvalOptions>(
      app, "eval", "score a checkpoint on the validation set", exit_code,
      [](CLI::App& command, EvalOptions& o) {
        command.add_option("config", o.config, "configuration file (configs/*.yaml)")->required();
        command.add_option("--checkpoint", o.checkpoint, "checkpoint of a run")->required();
        add_overrides(command, o.overrides);
        add_device_options(command, o.device);
        command.add_flag("--whole", o.whole_images, "whole images one by one, instead of centre crops");
        command.add_flag("--json", o.json, "print JSON instead of a table");
      },
      eval_command);
  add_command<PredictOptions>(
      app, "predict", "segment images: a palette PNG and an overlay each, in the image's own size", exit_code,
      [](CLI::App& command, PredictOptions& o) {
        command.add_option("images", o.images, "photos")->required();
        command.add_option("--checkpoint", o.checkpoint, "checkpoint of a run")->required();
        command.add_option("--out", o.out, "folder to write to")->required();
        add_device_options(command, o.device);
      },
      predict_command);
  add_command<DemoOptions>(
      app, "demo", "draw a small data set, train on it and show the result", exit_code,
      [](CLI::App& command, DemoOptions& o) {
        command.add_option("--out", o.out, "folder to write to")->capture_default_str();
        add_overrides(command, o.overrides);
        add_device_options(command, o.device);
      },
      demo_command);
  add_command<ReplayOptions>(
      app, "replay", "train recorded runs of the published code again and compare every number", exit_code,
      [](CLI::App& command, ReplayOptions& o) {
        command.add_option("cases", o.cases, "folders with case.json, init.safetensors, record.safetensors")
            ->required();
        add_device_options(command, o.device);
        command.add_option("--precision", o.precision, "storage of activations")
            ->check(CLI::IsMember({"fp32", "bf16"}))
            ->capture_default_str();
        command.add_flag("--json", o.json, "print JSON instead of a table");
      },
      replay_command);
  add_command<CheckOptions>(
      app, "check", "read a whole data set and say what is wrong with it, before any training", exit_code,
      [](CLI::App& command, CheckOptions& o) {
        command.add_option("config", o.config, "configuration file (configs/*.yaml)")->required();
        add_overrides(command, o.overrides);
        add_threads(command, o.threads);
        command.add_flag("--json", o.json, "print JSON, with every fault, instead of tables");
      },
      check_command);
  add_command<ScribbleOptions>(
      app, "scribble", "draw hand-like scribbles for a folder of dense masks", exit_code,
      [](CLI::App& command, ScribbleOptions& o) {
        command.add_option("--masks", o.masks, "folder of dense label maps (.png)")->required();
        command.add_option("--out", o.out, "folder to write the scribbles to, new or empty")->required();
        command.add_option("--images", o.images, "folder of the photos, to show in the preview");
        command.add_option("--seed", o.seed, "another seed draws other strokes")->capture_default_str();
        command.add_option("--width", o.width, "width of a stroke in pixels")
            ->check(CLI::Range(1.0, 100.0))
            ->capture_default_str();
        command
            .add_option("--shrink", o.shrink, "shorten strokes to this share of their length; 0 = a point")
            ->check(CLI::Range(0.0, 1.0))
            ->capture_default_str();
        command.add_option("--drop", o.drop, "share of strokes to leave out")
            ->check(CLI::Range(0.0, 1.0))
            ->capture_default_str();
        command.add_option("--min-area", o.min_area, "components with fewer pixels get no stroke")
            ->check(CLI::Range(1, 1 << 30))
            ->capture_default_str();
        command.add_option("--ignore-label", o.ignore_label, "value of unlabelled pixels in the masks")
            ->check(CLI::Range(0, 255))
            ->capture_default_str();
        add_threads(command, o.threads);
      },
      scribble_command);
  add_command<ExportOptions>(
      app, "export", "write a checkpoint's weights for other programs", exit_code,
      [](CLI::App& command, ExportOptions& o) {
        command.add_option("--checkpoint", o.checkpoint, "checkpoint of a run")->required();
        command
            .add_option(
                "--format", o.format,
                "published: for the published PyTorch code, .pth or .safetensors; huggingface: a folder for "
                "transformers; safetensors: a checkpoint without optimiser")
            ->check(CLI::IsMember({"published", "huggingface", "safetensors"}))
            ->required();
        command.add_option("--out", o.out, "file or folder to write")->required();
      },
      export_command);
  add_command<InspectOptions>(
      app, "inspect", "show names, types, shapes and ranges in a .safetensors, .pth or .npy file", exit_code,
      [](CLI::App& command, InspectOptions& o) {
        command.add_option("file", o.file, "the file")->required();
      },
      inspect_command);
  add_prepare_commands(app, exit_code);
  app.add_subcommand("info", "show devices, libraries and build")->callback([&exit_code] {
    exit_code = info_command();
  });
}

void add_bench_options(CLI::App& command, BenchOptions& o) {
  command.add_option("--backbone", o.backbones, "mit_b0 ... mit_b5")->capture_default_str();
  command.add_option("--crop", o.crops, "side of the square images")
      ->check(CLI::Range(1, 8192))
      ->capture_default_str();
  command.add_option("--batch", o.batches, "images a step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--phase", o.phases, "of training: without, local or global")
      ->check(CLI::IsMember({"without", "local", "global"}))
      ->capture_default_str();
  command.add_option("--precision", o.precision, "storage of activations")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command.add_option("--warmup", o.warmup, "steps ahead of the measured ones")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command.add_option("--steps", o.steps, "measured steps")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command.add_flag("--no-graphs", o.no_graphs, "launch every kernel for itself");
  command.add_flag("--json", o.json, "print JSON instead of a table");
  add_device_options(command, o.device);
}

/// `scrawl bench step` and `scrawl bench kernels`.
void add_benchmarks(CLI::App& app, int& exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "measure training steps, or the kernels of one");
  bench->require_subcommand(1);
  add_command<BenchOptions>(
      *bench, "step",
      "time training steps on synthetic images; options that are given several values make one row for each "
      "combination",
      exit_code, [](CLI::App& command, BenchOptions& o) { add_bench_options(command, o); },
      bench_step_command);
  add_command<BenchOptions>(
      *bench, "kernels",
      "time every kernel of a training step, where it runs; on a GPU beside a library's time for the same "
      "work, cuBLASLt's for products and cuDNN's for convolutions ('same': the kernel is the library's, "
      "'-': neither was timed at it)",
      exit_code,
      [](CLI::App& command, BenchOptions& o) {
        add_bench_options(command, o);
        command.add_option("name", o.kernel, "only kernels with this in their name");
      },
      bench_kernels_command);
}

/// What files of users hold may stand in messages: each must stay one line that fits on a screen, and leave
/// the terminal alone.
std::string one_line(std::string text) {
  constexpr size_t kBegin = 500, kEnd = 250;  // what is shown of a long one
  if (text.size() > kBegin + kEnd) {
    const auto continues = [&](size_t i) { return i < text.size() && (text[i] & 0xC0) == 0x80; };  // UTF-8
    size_t begin = kBegin, end = text.size() - kEnd;
    while (continues(begin)) ++begin;
    while (continues(end)) ++end;
    text = text.substr(0, begin) + " … " + text.substr(std::max(begin, end));
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7F) c = ' ';
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Scrawl: scribble-supervised semantic segmentation", "scrawl");
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default(false);
  int exit_code = 0;
  add_commands(app, exit_code);
  add_benchmarks(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    if (!names_unknown_command(app)) return app.exit(help);
    fmt::print(stderr, "scrawl: {}\n", one_line(misuse(app, help)));
    return 2;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "scrawl: {}\n", one_line(misuse(app, error)));
    return 2;
  } catch (const scrawl::InputError& error) {
    fmt::print(stderr, "scrawl: {}\n", one_line(error.what()));
    return 2;
  } catch (const scrawl::Interrupted& stop) {
    fmt::print(stderr, "scrawl: {}\n", stop.what());
    return 130;  // what a shell reports for a program that Ctrl-C ended
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "scrawl: failed: out of memory\n");
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "scrawl: failed: {}\n", one_line(error.what()));
    return 1;
  }
  return exit_code;
}
