#include "engine/error.h"
#include "train/checkpoint.h"
#include "train/commands/commands.h"
#include "train/interrupt.h"
#include "train/report/log.h"
#include "train/weights/exports.h"
#include "train/weights/hugging_face.h"

namespace scrawl {
namespace {

/// Layer norms there may have another eps, which this model was not trained with.
void note_eps(const ModelConfig& model, const char* whose, float block, float other) {
  if (model.block_norm_eps == block && model.other_norm_eps == other) return;
  log("note: {} layer norms have eps {} in blocks and {} elsewhere, this model learnt with {} and {}: logits "
      "differ in their last digits",
      whose, block, other, model.block_norm_eps, model.other_norm_eps);
}

}  // namespace

int export_command(const ExportOptions& options) {
  std::error_code error;
  if (std::filesystem::equivalent(options.checkpoint, options.out, error))
    throw InputError("--out {}: is the checkpoint itself, which training may have to go on from",
                     options.out.string());
  const Checkpoint checkpoint(options.checkpoint);
  const CheckpointInfo& info = checkpoint.info();
  Device device;
  Pfa model(device, info.model);
  model.initialise(std::vector<GroupSettings>(kGroups), 0);
  checkpoint.load(model);

  note_interrupts();  // what is written is written whole
  const TrainedModel trained{model, info, checkpoint.has_feature_augmentation(), checkpoint.has_bank()};
  if (options.format == "huggingface") {
    export_hugging_face(options.out, trained);
    note_eps(info.model, "transformers'", kHuggingFaceNormEps, kHuggingFaceNormEps);
    log("note: feature augmentation and prototypes are not part of SegFormer and stay behind");
  } else if (options.format == "published") {
    export_published(options.out, trained);
    note_eps(info.model, "the published code's", ModelConfig{}.block_norm_eps, ModelConfig{}.other_norm_eps);
    if (!checkpoint.has_feature_augmentation())
      log("note: the checkpoint has no feature augmentation: load the export with strict=False");
  } else {
    export_checkpoint(options.out, trained);
  }
  log("wrote {}", options.out.string());
  return 0;
}

}  // namespace scrawl
