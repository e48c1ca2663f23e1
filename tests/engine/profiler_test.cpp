#include <gtest/gtest.h>

#include "engine/device.h"
#include "kernels/cast.h"
#include "kernels/convolution.h"
#include "kernels/matmul.h"

namespace scrawl {
namespace {

// Whoever names no library is taken for a kernel of our own: an overload that is not found is no error.
template <typename Kernel, typename Queue>
constexpr bool kNamesALibrary = requires(const Kernel& kernel, const Queue& queue) {
  library_of(kernel, queue);
};

static_assert(kNamesALibrary<MatMul, cuda::Queue>);
static_assert(kNamesALibrary<ConvolutionForward, cudnn::Queue>);
static_assert(kNamesALibrary<ConvolutionBackwardInput, cudnn::Queue>);
static_assert(kNamesALibrary<ConvolutionBackwardWeight, cudnn::Queue>);
static_assert(!kNamesALibrary<ConvolutionForward, cuda::Queue>);
static_assert(!kNamesALibrary<Cast, cuda::Queue>);
static_assert(!kNamesALibrary<MatMul, cpu::Queue>);
#ifdef SCRAWL_CUDNN
static_assert(kNamesALibrary<MatMul, cudnn::Queue>);
#endif

TEST(Profiler, KeepsALibrarysKernelsApartFromOurs) {
  Profiler profiler;
  profiler.add("linear.forward", 1.0, {100, 10});
  profiler.add("linear.forward", 2.0, {100, 10}, "cuBLASLt");
  profiler.add("linear.forward", 3.0, {100, 10}, "cuBLASLt");
  ASSERT_EQ(profiler.entries().size(), 2u);
  EXPECT_EQ(profiler.entries().at({"", "linear.forward", {100, 10}}).seconds, 1.0);
  EXPECT_EQ(profiler.entries().at({"", "linear.forward", {100, 10}, "cuBLASLt"}).seconds, 5.0);
}

}  // namespace
}  // namespace scrawl
