#pragma once
// Blocks may run on several operating system threads, so these are truly atomic.
#include <atomic>
#include <concepts>
#include <type_traits>

#include "kernels/simt/observer.h"

namespace scrawl::simt {

template <std::integral T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref(*address).fetch_add(value);
}
/// Counts up to `last` and then begins at 0 again.
inline unsigned atomicInc(unsigned* address, unsigned last) {
  unsigned old = std::atomic_ref(*address).load();
  while (!std::atomic_ref(*address).compare_exchange_weak(old, old >= last ? 0 : old + 1)) {
  }
  return old;
}
template <std::integral T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref(*address).fetch_and(value);
}
template <std::integral T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref(*address).fetch_or(value);
}
template <std::integral T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref(*address).exchange(value);
}
/// Returns what was there; stores `value` if that equals `expected`.
template <std::integral T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref(*address).compare_exchange_strong(expected, value);
  return expected;
}
template <std::integral T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  T old = std::atomic_ref(*address).load();
  while (old < value && !std::atomic_ref(*address).compare_exchange_weak(old, value)) {
  }
  return old;
}
template <std::integral T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  T old = std::atomic_ref(*address).load();
  while (old > value && !std::atomic_ref(*address).compare_exchange_weak(old, value)) {
  }
  return old;
}

inline void __threadfence() {
  if (observer) observer->fence_device();
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void __threadfence_block() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace scrawl::simt
