#pragma once
#include <functional>
#include <vector>

#include "engine/tape.h"

namespace scrawl {

/// The second coming of an output that nobody keeps after the forward pass, since the backward kernel of the
/// operation that made it has its values in hand on the way: a normalised map, GELU's output.  Who needs them
/// for a weight's gradient waits for that.
class Recomputation {
 public:
  using Use = std::function<void(const Tensor& values)>;
  /// Whether somebody waits.
  bool wanted() const { return !waiting_.empty(); }
  /// Where to compute the values to: memory like `x`, or an undefined tensor when nobody waits.
  Tensor wanted_like(const Tensor& x) const;
  /// The values are under way: calls who has waited for them.
  void arrive(const Tensor& values);

 private:
  friend class Kept;
  struct Waiting {
    Use use;
    std::vector<PendingUse> of;
  };
  std::vector<Waiting> waiting_;
};

/// An input as an operation's backward closure keeps it that needs it for a weight's gradient only: with its
/// memory or, when it can be computed again, without.
class Kept {
 public:
  explicit Kept(const Tensor& x);
  /// Calls `use`, which has the values' share of these gradients computed: now or, if the values are gone,
  /// when they are back.
  void use(std::initializer_list<std::shared_ptr<Gradient>> gradients, Recomputation::Use use) const;
  /// Whether the memory is kept, and is that of this other handle and of nobody else.
  bool is_shared_only_with(const Tensor& other) const;

 private:
  Tensor x_;
  std::weak_ptr<Buffer> memory_;  // when x_ has none
};

}  // namespace scrawl
