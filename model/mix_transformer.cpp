#include "model/mix_transformer.h"

#include <numeric>

namespace scrawl {

TransformerBlock::TransformerBlock(const Scope& scope, const ModelConfig& config, int stage,
                                   float drop_path_rate)
    : norm1(scope.inner("norm1"), config.embed_dims[stage], &config.block_norm_eps),
      attention(scope.inner("attn"), config.embed_dims[stage], config.heads[stage], config.reductions[stage],
                &config.other_norm_eps),
      norm2(scope.inner("norm2"), config.embed_dims[stage], &config.block_norm_eps),
      mix_ffn(scope.inner("mlp"), config.embed_dims[stage], config.mlp_ratio),
      drop_path(drop_path_rate) {}

ops::NormedSum TransformerBlock::operator()(Tape& tape, ops::NormedSum x, const LayerNorm& next) const {
  x = norm2.of_sum(tape, x.sum, attention(tape, x.normed), drop_path);
  return next.of_sum(tape, x.sum, mix_ffn(tape, x.normed), drop_path);
}

MixTransformer::MixTransformer(const Scope& scope, const ModelConfig& config) {
  const int total = std::accumulate(config.depths.begin(), config.depths.end(), 0);
  int in = 3, index = 0;
  for (int s = 0; s < 4; ++s) {
    const std::string number = std::to_string(s + 1);
    const int channels = config.embed_dims[s];
    Stage& stage =
        stages_.emplace_back(Stage{{scope.inner("patch_embed" + number), in, channels, s == 0 ? 7 : 3,
                                    config.strides[s], &config.other_norm_eps},
                                   {},
                                   {scope.inner("norm" + number), channels, &config.block_norm_eps}});
    for (int j = 0; j < config.depths[s]; ++j, ++index) {
      // Stochastic depth rises linearly over all blocks, from 0 to the full rate.
      const float rate =
          total > 1 ? config.drop_path * static_cast<float>(index) / static_cast<float>(total - 1) : 0.0f;
      stage.blocks.emplace_back(scope.inner("block" + number).inner(std::to_string(j)), config, s, rate);
    }
    in = channels;
  }
}

std::array<Tensor, 4> MixTransformer::operator()(Tape& tape, const Tensor& image, const EachMap& each) const {
  std::array<Tensor, 4> maps;
  for (int s = 0; s < 4; ++s) {
    const Stage& stage = stages_[s];
    tape.mark();
    ops::NormedSum x = stage.patch_embed(tape, s == 0 ? image : maps[s - 1], stage.norm_ahead_of(0));
    for (size_t i = 0; i < stage.blocks.size(); ++i) x = stage.blocks[i](tape, x, stage.norm_ahead_of(i + 1));
    maps[s] = x.normed;
    if (each && s < 3) each(s, maps[s]);
  }
  return maps;
}

}  // namespace scrawl
