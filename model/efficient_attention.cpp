#include "model/efficient_attention.h"

namespace scrawl {

EfficientAttention::EfficientAttention(const Scope& scope, int channels, int heads, int reduction,
                                       const float* norm_eps)
    : heads_(heads),
      q_(scope.inner("q"), channels, channels, LinearInit::truncated_normal),
      kv_(scope.inner("kv"), channels, 2 * channels, LinearInit::truncated_normal),
      proj_(scope.inner("proj"), channels, channels, LinearInit::truncated_normal) {
  if (reduction > 1)
    reduction_.emplace(SpatialReduction{{scope.inner("sr"), channels, channels, reduction, reduction, 0},
                                        {scope.inner("norm"), channels, norm_eps}});
}

ops::Branch EfficientAttention::operator()(Tape& tape, const Tensor& x) const {
  const int64_t images = x.dim(0), channels = x.dim(3);
  Tensor q, source = x;
  tape.device().aside([&] { q = q_(tape, x).reshape({images, x.dim(1) * x.dim(2), channels}); });
  if (reduction_) source = reduction_->norm(tape, reduction_->sr(tape, x));
  const Tensor kv = kv_(tape, source).reshape({images, source.dim(1) * source.dim(2), 2 * channels});
  tape.device().join();
  return proj_.branch_of(ops::attention(tape, q, kv, heads_).reshape(x.shape()));
}

}  // namespace scrawl
