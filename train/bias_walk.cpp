#include "train/bias_walk.h"

#include <numeric>

namespace scrawl {
namespace {

constexpr double kMomentum = 0.1;  // of the decoder's batch norm

/// The share of the whole walk that the moving average shows after the last step.  Step s sees the biases
/// before its own update, and its mean has decayed by the steps after it.
double followed_share(const std::vector<float>& lr_factors) {
  const double whole = std::accumulate(lr_factors.begin(), lr_factors.end(), 0.0);
  double walked = 0.0, average = 0.0;
  for (float factor : lr_factors) {
    average = (1.0 - kMomentum) * average + kMomentum * walked / whole;
    walked += factor;
  }
  return average;
}

}  // namespace

bool walks_by_noise(const std::string& parameter) {
  return (parameter.find(".linear_c") != std::string::npos && parameter.ends_with(".bias")) ||
         parameter.ends_with("attn.kv.bias");
}

void follow_bias_walk(std::vector<float>& running_mean, Parameters& parameters, const TensorFile& record,
                      const std::vector<float>& lr_factors) {
  const double share = followed_share(lr_factors);
  const size_t width = running_mean.size();
  const std::vector<float> fuse = parameters.find("decoder.linear_fuse.conv.weight").value.to_host();
  for (int level = 0; level < 4; ++level) {
    const std::string name = "decoder.linear_c" + std::to_string(level + 1) + ".proj.bias";
    if (!record.contains("final/" + name)) continue;
    const std::vector<float> recorded = record.at("final/" + name).floats();
    const std::vector<float> ours = parameters.find(name).value.to_host();
    const size_t column = (3 - level) * width;  // the coarsest level comes first in the fuse weight
    for (size_t out = 0; out < width; ++out)
      for (size_t in = 0; in < width; ++in)
        running_mean[out] +=
            static_cast<float>(share * fuse[out * 4 * width + column + in] * (recorded[in] - ours[in]));
  }
}

}  // namespace scrawl
