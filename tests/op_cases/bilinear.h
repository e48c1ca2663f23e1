#pragma once
#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

/// Bilinear resize of x [images, height, width, channels] by PyTorch's two conventions.
Numbers bilinear(const Numbers& x, const Shape& shape, int64_t out_height, int64_t out_width,
                 bool align_corners);

}  // namespace scrawl::op_table
