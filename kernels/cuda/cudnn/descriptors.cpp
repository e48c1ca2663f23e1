#include "kernels/cuda/cudnn/descriptors.h"

#include "kernels/cuda/cudnn/library.h"

namespace scrawl::cudnn {

namespace {

cudnnDataType_t type_of(DType dtype) {
  return dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

}  // namespace

void Destroy::operator()(cudnnTensorStruct* p) const {
  library().destroy_tensor(p);
}
void Destroy::operator()(cudnnFilterStruct* p) const {
  library().destroy_filter(p);
}
void Destroy::operator()(cudnnConvolutionStruct* p) const {
  library().destroy_convolution(p);
}

Tensor describe_map(DType dtype, int64_t images, int64_t height, int64_t width, int64_t channels) {
  cudnnTensorDescriptor_t tensor = nullptr;
  check(library().create_tensor(&tensor), "describing a map");
  Tensor result(tensor);
  check(library().set_tensor(tensor, CUDNN_TENSOR_NHWC, type_of(dtype), static_cast<int>(images),
                             static_cast<int>(channels), static_cast<int>(height), static_cast<int>(width)),
        [&] { return fmt::format("describing a map [{}, {}, {}, {}]", images, height, width, channels); });
  return result;
}

Filter describe_weights(DType dtype, const ConvolutionShape& shape) {
  cudnnFilterDescriptor_t filter = nullptr;
  check(library().create_filter(&filter), "describing weights");
  Filter result(filter);
  check(library().set_filter(filter, type_of(dtype), CUDNN_TENSOR_NHWC, shape.out_channels, shape.channels,
                             shape.kernel, shape.kernel),
        "describing weights");
  return result;
}

Convolution describe_convolution(const ConvolutionShape& shape, cudnnMathType_t math) {
  cudnnConvolutionDescriptor_t convolution = nullptr;
  check(library().create_convolution(&convolution), "describing a convolution");
  Convolution result(convolution);
  check(library().set_convolution(convolution, shape.padding, shape.padding, shape.stride, shape.stride, 1, 1,
                                  CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "describing a convolution");
  check(library().set_math(convolution, math), "describing a convolution");
  return result;
}

}  // namespace scrawl::cudnn
