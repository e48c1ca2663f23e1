#pragma once
// The commands of the program.  main.cpp reads the command line into these structs; a command returns the
// exit code.
#include <filesystem>
#include <string>
#include <vector>

#include "data/annotations/annotation_set.h"

namespace scrawl {

using Paths = std::vector<std::filesystem::path>;

struct DeviceOptions {
  std::string name = "auto";  // the GPU when there is one, or else the processor
  int threads = 0;            // 0 = all cores
  std::string conv = "own";   // convolutions and batch norms of the GPU: own kernels or cudnn
  bool portable = false;      // kernels that every GPU has
  bool synchronise = false;   // after every kernel, so that a failing one is named
};

struct TrainOptions {
  std::filesystem::path config;
  std::vector<std::string> overrides;
  DeviceOptions device;
  bool resume = false, fresh = false, profile = false;
};
int train_command(const TrainOptions& options);

struct EvalOptions {
  std::filesystem::path config, checkpoint;
  std::vector<std::string> overrides;
  DeviceOptions device;
  bool whole_images = false, json = false;
};
int eval_command(const EvalOptions& options);

struct PredictOptions {
  std::filesystem::path checkpoint, out;
  Paths images;
  DeviceOptions device;
};
int predict_command(const PredictOptions& options);

struct DemoOptions {
  std::filesystem::path out = "runs/demo";
  std::vector<std::string> overrides;
  DeviceOptions device;
};
int demo_command(const DemoOptions& options);

struct ReplayOptions {
  Paths cases;
  DeviceOptions device;
  std::string precision = "fp32";  // or bf16
  bool json = false;
};
int replay_command(const ReplayOptions& options);

struct CheckOptions {
  std::filesystem::path config;
  std::vector<std::string> overrides;
  int threads = 0;  // 0 = all cores
  bool json = false;
};
int check_command(const CheckOptions& options);

struct ScribbleOptions {
  std::filesystem::path masks, out, images;
  uint64_t seed = 1;
  float width = 3.0f, shrink = 1.0f, drop = 0.0f;
  int min_area = 80, ignore_label = 255;
  int threads = 0;  // 0 = all cores
};
int scribble_command(const ScribbleOptions& options);

struct BenchOptions {
  // Every combination is a row of `bench step`.
  std::vector<std::string> backbones{"mit_b1"};
  std::vector<int> crops{320}, batches{12};
  std::vector<std::string> phases{"global"};
  std::string precision = "fp32";  // or bf16
  int warmup = 5, steps = 20;
  bool no_graphs = false, json = false;
  std::string kernel;  // `bench kernels`: part of a name; empty = all
  DeviceOptions device;
};
int bench_step_command(const BenchOptions& options);
int bench_kernels_command(const BenchOptions& options);

struct InspectOptions {
  std::filesystem::path file;
};
int inspect_command(const InspectOptions& options);

struct ExportOptions {
  std::filesystem::path checkpoint, out;
  std::string format;  // "published", "huggingface" or "safetensors"
};
int export_command(const ExportOptions& options);
/// Annotations of users made into a data set to train on.
struct PrepareOptions {
  AnnotationFormat format{};
  std::filesystem::path annotations, out;
  std::filesystem::path images, classes, masks,
      val_list;  // empty when not given; images: beside the annotations
  int width = 3;
  bool copy_images = false;
};
int prepare_command(const PrepareOptions& options);

/// Either `objects` or `labels` is given.
struct PrepareTagsOptions {
  std::filesystem::path objects, labels, classes, out;
  int ignore_label = 255;
};
int prepare_tags_command(const PrepareTagsOptions& options);

int info_command();

}  // namespace scrawl
