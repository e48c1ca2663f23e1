// Residual sum with stochastic depth: one pass, bound by memory.  Chunks lie within one image, so that its
// random scale is drawn once a chunk and the loop is a plain multiply-add.
#include "kernels/residual.h"

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {
namespace {

/// Calls body(scale, begin, end) for chunks of elements that share an image.
template <typename Body>
void for_each_chunk(Queue& queue, int64_t images, int64_t elements, const DropPath& drop_path, Body body) {
  const int64_t grain = grain_for(1), chunks = (elements + grain - 1) / grain;
  parallel_for(queue, images * chunks, [&](int64_t index) {
    const int64_t image = index / chunks, first = index % chunks * grain;
    body(drop_path.scale(static_cast<uint32_t>(image)), image * elements + first,
         image * elements + std::min(elements, first + grain));
  });
}

}  // namespace

void run(const ResidualForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  const auto* branch = static_cast<const float*>(args.branch);
  auto* y = static_cast<float*>(args.y);
  for_each_chunk(queue, args.images, args.elements, args.drop_path,
                 [=](float scale, int64_t begin, int64_t end) {
#pragma omp simd
                   for (int64_t i = begin; i < end; ++i) y[i] = x[i] + scale * branch[i];
                 });
}

void run(const ResidualBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* dy = static_cast<const float*>(args.dy);
  auto* dbranch = static_cast<float*>(args.dbranch);
  const bool accumulate = args.accumulate;
  for_each_chunk(queue, args.images, args.elements, args.drop_path,
                 [=](float scale, int64_t begin, int64_t end) {
#pragma omp simd
                   for (int64_t i = begin; i < end; ++i)
                     dbranch[i] = (accumulate ? dbranch[i] : 0.0f) + scale * dy[i];
                 });
}

}  // namespace scrawl::cpu
