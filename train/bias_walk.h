#pragma once
// What rounding noise does to a recorded run.  Some parameters have a gradient that is zero by construction:
// the biases of the decoder's linears, which batch norm subtracts again, and the key half of attention's kv
// bias, which softmax ignores.  Computed in floating point it is noise of about 1e-8, which AdamW normalises
// into steps of full size: they walk at random, differently on every machine, without any effect on the
// losses.
#include <string>
#include <vector>

#include "engine/parameters.h"

namespace scrawl {

/// True for parameters whose final values say nothing.
bool walks_by_noise(const std::string& parameter);

/// The running mean of the decoder's batch norm follows the walk of the biases ahead of it, some steps
/// behind.
inline const std::string kRunningMean = "decoder.linear_fuse.bn.running_mean";

/// Adds to our running mean what the recorded run's biases walked more than ours, as far as the moving
/// average has followed: the walk is taken to be even in units of the learning rate, whose factor in every
/// step is given.
void follow_bias_walk(std::vector<float>& running_mean, Parameters& parameters, const TensorFile& record,
                      const std::vector<float>& lr_factors);

}  // namespace scrawl
