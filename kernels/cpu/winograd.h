#pragma once
#include "kernels/convolution.h"

namespace scrawl::cpu {

/// Whether a convolution is one that Winograd's algorithm makes faster: 3×3, stride 1, padding 1, of so many
/// channels that the products outweigh the transforms.
bool suits_winograd(const ConvolutionShape& shape);

/// The convolutions of kernels/convolution.h for such shapes.
void run_winograd(const ConvolutionForward& args, Queue& queue);
void run_winograd(const ConvolutionBackwardInput& args, Queue& queue);
void run_winograd(const ConvolutionBackwardWeight& args, Queue& queue);

}  // namespace scrawl::cpu
