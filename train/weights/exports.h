#pragma once
#include <filesystem>

#include "model/pfa.h"
#include "train/checkpoint_info.h"

namespace scrawl {

/// A trained model, and what of it there is.
struct TrainedModel {
  const Pfa& model;
  const CheckpointInfo& info;
  bool feature_augmentation = true, bank = true;
};

/// What the published PyTorch code loads with strict=True: its names and layouts, as a PyTorch checkpoint
/// (.pth) or safetensors, by the extension; InputError for any other.
void export_published(const std::filesystem::path& path, const TrainedModel& trained);

/// A folder for the from_pretrained of transformers' SegformerForSemanticSegmentation: config.json,
/// preprocessor_config.json, model.safetensors.  Encoder and decoder alone: feature augmentation and bank are
/// not part of SegFormer.
void export_hugging_face(const std::filesystem::path& folder, const TrainedModel& trained);

/// A checkpoint of this program to predict and evaluate with: all but the optimiser.  InputError when the
/// name does not end in .safetensors.
void export_checkpoint(const std::filesystem::path& path, const TrainedModel& trained);

}  // namespace scrawl
