#include "model/mix_ffn.h"

#include <cmath>

namespace scrawl {

MixFfn::MixFfn(const Scope& scope, int channels, int ratio)
    : fc1_(scope.inner("fc1"), channels, ratio * channels, LinearInit::truncated_normal),
      // fan_out of a depthwise convolution counts one output channel: kernel² alone.
      depthwise_weight_(scope.inner("dwconv.dwconv")
                            .declare("weight", {3, 3, ratio * channels},
                                     Initial::normal(std::sqrt(2.0f / 9.0f)), FileLayout::depthwise)),
      depthwise_bias_(
          scope.inner("dwconv.dwconv").declare("bias", {ratio * channels}, Initial::constant(0.0f))),
      fc2_(scope.inner("fc2"), ratio * channels, channels, LinearInit::truncated_normal) {}

ops::Branch MixFfn::operator()(Tape& tape, const Tensor& x) const {
  const Tensor hidden = fc1_(tape, x);
  return fc2_.branch_of(ops::depthwise_gelu(tape, hidden, depthwise_weight_.value, depthwise_bias_.value));
}

}  // namespace scrawl
