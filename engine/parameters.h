#pragma once
// The numbers that are learnt.  Values, gradients and both moments of AdamW lie in one flat arena each,
// ordered by group: the optimiser is one launch, and data-parallel training can reduce all gradients with one
// call.
#include <deque>
#include <string>
#include <vector>

#include "engine/tape.h"
#include "engine/tensor_file.h"
#include "kernels/adamw.h"

namespace scrawl {

/// How PyTorch's files order a weight, and we do not: kernels want channels innermost.
enum class FileLayout {
  same,
  convolution,  // file [out, in, k, k], here [out, k, k, in]
  depthwise,    // file [channels, 1, k, k], here [k, k, channels]
};

/// The distribution of initial values.
struct Initial {
  enum class Kind { constant, normal, truncated_normal, uniform };
  Kind kind = Kind::constant;
  float value = 0.0f;  // the constant, the standard deviation, or the bound of ±bound
  static Initial constant(float value) { return {Kind::constant, value}; }
  static Initial normal(float std) { return {Kind::normal, std}; }
  /// Cut at ±2 (absolute), as the published initialisation is.
  static Initial truncated_normal(float std) { return {Kind::truncated_normal, std}; }
  static Initial uniform(float bound) { return {Kind::uniform, bound}; }
};

struct Parameter {
  std::string name{};  // the published checkpoint's
  Shape shape{};
  Initial initial{};
  int group = 0;
  FileLayout layout = FileLayout::same;
  std::vector<int64_t> file_shape{};  // PyTorch's
  Tensor value{};                     // f32, a place in the arena, once allocated
  /// What matrix products read: `value` itself, or its copy rounded to bf16.  Both share one gradient, in
  /// f32.
  Tensor matrix{};
  bool learnt = true;  // false for running statistics: saved and loaded, never differentiated
  /// False where the gradient is zero by construction: it enters operations as a constant, and AdamW takes
  /// its gradient for zero.
  bool differentiated = true;
};

struct GroupSettings {
  float lr = 0.0f;
  float weight_decay = 0.0f;
};

class Parameters {
 public:
  /// Declares a parameter; the reference stays valid.  All must be declared before allocate().
  Parameter& add(Parameter parameter);
  /// A value that is kept with the model but not learnt, such as running statistics.
  Parameter& add_state(std::string name, const Shape& shape, float initial);

  /// Makes the arenas and fills in the initial values, which depend on the seed and each parameter's place.
  /// Groups with learning rate 0 get no gradients unless `differentiate_frozen`.  `storage` is the type of
  /// activations, which matrix products want their weights in too.
  void allocate(Device& device, const std::vector<GroupSettings>& groups, uint64_t seed,
                bool differentiate_frozen = false, DType storage = DType::f32);
  DType storage() const { return storage_; }

  /// Forgets the last step's gradients: the next backward pass overwrites them.
  void begin_step();
  /// One AdamW update of the groups that `active` names; the others, whose gradients have not begun to flow,
  /// keep values and moments.  `state` gives the step's learning-rate factor and lies in device memory.
  struct Update {
    ActiveGroups active = 0;
    float beta1 = 0.9f, beta2 = 0.999f;
    const StepState* state = nullptr;
  };
  void update(const Update& update);
  /// The same in parts, beside a backward pass: begin_update() ahead of it; update_finished(), as often as
  /// one likes, for the parameters at the arena's end whose gradients nothing adds to any more; end_update()
  /// for the rest.  What runs after update_finished() must not read their values, gradients or rounded
  /// copies.
  void begin_update(const Update& update);
  void update_finished();
  void end_update();

  const std::deque<Parameter>& all() const { return parameters_; }
  int64_t count() const;  // learnt numbers

  /// Host copies in PyTorch's names, shapes and layouts.
  HostTensor to_file(const Parameter& parameter) const;
  HostTensor gradient_to_file(const Parameter& parameter) const;
  /// Throws InputError naming the parameter and both shapes when the shape differs.
  void from_file(Parameter& parameter, const HostTensor& tensor);
  /// Every parameter from a file that must hold all of them under `prefix`.
  void load(const TensorFile& file, const std::string& prefix = "");
  void save(TensorFile& file, const std::string& prefix = "") const;
  /// AdamW's moments and step counts, for resuming.
  void load_optimizer(const TensorFile& file);
  void save_optimizer(TensorFile& file) const;

  Parameter& find(const std::string& name);

 private:
  /// Brings rounded copies up to date with values.
  void round(const Tensor& values, const Tensor& rounded);
  void upload_groups();
  bool is_finished(const Parameter& parameter) const;
  int64_t offset_of(const Parameter& parameter) const;
  /// AdamW from `begin` to where it has been already.
  void update_from(int64_t begin);
  std::vector<float> in_file_layout(const Parameter& parameter, const std::vector<float>& values) const;

  std::deque<Parameter> parameters_;
  std::vector<const Parameter*> in_arena_;  // the learnt ones, by place
  ActiveGroups frozen_ = 0;                 // which updates leave alone, so that kernels may read them
  Update update_;                           // the one under way
  int64_t updated_from_ = 0;                // from here to the arena's end it is done
  std::vector<AdamWGroup> groups_;          // as the device's were when they were last uploaded
  Device* device_ = nullptr;
  DType storage_ = DType::f32;
  Tensor rounded_;  // of all values, when storage is not f32
  Tensor values_, gradients_, first_moments_, second_moments_, device_groups_;
};

}  // namespace scrawl
