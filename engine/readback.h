#pragma once
#include <memory>
#include <vector>

#include "engine/tensor.h"

namespace scrawl {
namespace cuda {
class Readback;
}

/// Single numbers on their way from a device to the host, which does not wait for each.
class Readback {
 public:
  /// Room for `capacity` numbers that were pushed and not yet taken.
  Readback(Device& device, int capacity);

  /// Starts copying a tensor of one f32 element, in order with the kernels.
  void push(const Tensor& number);
  /// On a GPU the numbers that were pushed before the last call of this function, which are there by now;
  /// elsewhere all.  In the order of push().
  std::vector<float> arrived();
  /// Waits for all that are left.
  std::vector<float> rest();

 private:
  std::vector<float> numbers_;               // on cpu and simt
  std::shared_ptr<cuda::Readback> on_cuda_;  // null elsewhere
};

}  // namespace scrawl
