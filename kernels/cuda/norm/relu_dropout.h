#pragma once
// What stands behind a library's batch norm: ReLU and channel dropout as passes of their own.
#include "kernels/batch_norm_relu.h"

namespace scrawl::cuda {
/// y = dropout(relu(y)), where y holds what batch norm gave.
void relu_dropout(const BatchNormReluForward&, Queue&);
/// dz [images, positions, channels] = what ReLU and dropout let pass of dy: the gradient of batch norm's
/// result.
void relu_dropout_backward(const BatchNormReluBackward&, void* dz, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
void relu_dropout(const BatchNormReluForward&, Queue&);
void relu_dropout_backward(const BatchNormReluBackward&, void* dz, Queue&);
}  // namespace scrawl::simt
