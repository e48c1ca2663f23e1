#include "kernels/cpu/gemm.h"

#include <dnnl.h>
#include <omp.h>

#include <stdexcept>
#include <string>

namespace scrawl::cpu {

namespace {

// oneDNN works alone inside an active parallel region, but a team of one thread does not count as active:
// there it would start threads of its own and cut the product differently.
class OneThread {
 public:
  OneThread() : threads_(omp_in_parallel() ? 0 : omp_get_max_threads()) {
    if (threads_ > 0) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (threads_ > 0) omp_set_num_threads(threads_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_;
};

void scale(int64_t m, int64_t n, float beta, float* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0.0f ? 0.0f : beta * c[i * ldc + j];
}

}  // namespace

void gemm(int64_t m, int64_t n, int64_t k, Factor a, Factor b, float beta, float* c, int64_t ldc,
          float alpha) {
  if (m == 0 || n == 0) return;
  if (k == 0) return scale(m, n, beta, c, ldc);
  const OneThread one_thread;
  const dnnl_status_t status = dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, alpha,
                                          a.data, a.ld, b.data, b.ld, beta, c, ldc);
  if (status != dnnl_success)
    throw std::runtime_error("oneDNN: matrix product failed with status " + std::to_string(status));
}

}  // namespace scrawl::cpu
