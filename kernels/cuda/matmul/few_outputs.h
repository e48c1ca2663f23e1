#pragma once
// How RectifiedLinearBackward is computed; see few_outputs.cu.
#include "kernels/linear_backward.h"

namespace scrawl::cuda {
/// Whether one kernel of our own can do it.
bool has_few_outputs(const RectifiedLinearBackward&);
void go_back_at_once(const RectifiedLinearBackward&, Queue&);
/// By two products and ReLU's gradient.
void go_back_by_products(const RectifiedLinearBackward&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
bool has_few_outputs(const RectifiedLinearBackward&);
void go_back_at_once(const RectifiedLinearBackward&, Queue&);
void go_back_by_products(const RectifiedLinearBackward&, Queue&);
}  // namespace scrawl::simt
