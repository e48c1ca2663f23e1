#pragma once
#include <array>
#include <deque>

#include "model/config.h"
#include "model/efficient_attention.h"
#include "model/mix_ffn.h"
#include "model/patch_embed.h"

namespace scrawl {

/// One block: x += drop_path(attention(norm1(x))); x += drop_path(mix_ffn(norm2(x))).
struct TransformerBlock {
  TransformerBlock(const Scope& scope, const ModelConfig& config, int stage, float drop_path_rate);
  Tensor operator()(Tape& tape, Tensor x) const;

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
  /// image [N,H,W,3], normalised -> the maps of the four stages, finest first.
  std::array<Tensor, 4> operator()(Tape& tape, const Tensor& image) const;

 private:
  struct Stage {
    PatchEmbed patch_embed;
    std::deque<TransformerBlock> blocks;
    LayerNorm norm;
  };
  std::deque<Stage> stages_;
};

}  // namespace scrawl
