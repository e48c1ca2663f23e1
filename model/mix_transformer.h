#pragma once
#include <array>
#include <deque>
#include <functional>

#include "model/config.h"
#include "model/efficient_attention.h"
#include "model/mix_ffn.h"
#include "model/patch_embed.h"

namespace scrawl {

/// One block: x += drop_path(attention(norm1(x))); x += drop_path(mix_ffn(norm2(x))).
/// A norm follows every sum and is computed along with it.  So a block gets x with norm1 of it, and gives x
/// with the norm that comes next: norm1 of the next block, or the stage's norm.
struct TransformerBlock {
  TransformerBlock(const Scope& scope, const ModelConfig& config, int stage, float drop_path_rate);
  ops::NormedSum operator()(Tape& tape, ops::NormedSum x, const LayerNorm& next) const;

  LayerNorm norm1;
  EfficientAttention attention;
  LayerNorm norm2;
  MixFfn mix_ffn;
  float drop_path;
};

/// The Mix Transformer encoder (SegFormer, figure 2): four stages of overlapped patch embedding, blocks and a
/// norm.
class MixTransformer {
 public:
  /// Reads the norms' eps from `config` whenever it is applied.
  MixTransformer(const Scope& scope, const ModelConfig& config);
  /// What is done with a stage's map while later stages are still to come.
  using EachMap = std::function<void(int stage, const Tensor& map)>;
  /// image [N,H,W,3], normalised -> the maps of the four stages, finest first.
  std::array<Tensor, 4> operator()(Tape& tape, const Tensor& image, const EachMap& each = {}) const;

 private:
  struct Stage {
    PatchEmbed patch_embed;
    std::deque<TransformerBlock> blocks;
    LayerNorm norm;
    /// The norm ahead of block i, or of the stage's end.
    const LayerNorm& norm_ahead_of(size_t i) const { return i < blocks.size() ? blocks[i].norm1 : norm; }
  };
  std::deque<Stage> stages_;
};

}  // namespace scrawl
