#pragma once
#include <vector>

#include "engine/tensor.h"
#include "engine/tensor_file.h"
#include "model/config.h"

namespace scrawl {

/// Global prototypes: per class `slots` vectors, filled in order of arrival, then moved by EMA (see
/// BankUpdate).
class PrototypeBank {
 public:
  PrototypeBank(Device& device, const ModelConfig& config);

  /// Counts what an update by images with these tags (u8 [N,K], on the host) fills, so that how full the bank
  /// is can be told without asking the device.  Every update() wants one.
  void expect(const std::vector<uint8_t>& tags);
  /// prototypes [N,K,D], present u8 [N,K].
  void update(const Tensor& prototypes, const Tensor& present);
  /// Every class has all its slots, those included that are expected: the global branch may start.
  bool full() const;
  /// Used slots over all slots, in [0, 1].
  double fill() const;

  /// [K,slots,D], and i32 [K].
  const Tensor& values() const { return values_; }
  const Tensor& filled() const { return filled_; }
  /// The bank as prototypes that all images share: [1,K·slots,D].
  Tensor shared() const;

  void load(const TensorFile& file);
  void save(TensorFile& file) const;

 private:
  int slots_;
  float rate_;
  Tensor values_, filled_;
  std::vector<int> host_filled_;
};

}  // namespace scrawl
