#include "kernels/simt/wgmma.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bf16.h"
#include "kernels/simt/block.h"
#include "kernels/simt/fault.h"
#include "kernels/simt/meeting.h"
#include "kernels/simt/observer.h"

namespace scrawl::simt {

namespace {

constexpr int kRows = 64, kDepth = 16;

/// PTX ISA, "Matrix Descriptor Format".
struct Descriptor {
  uint32_t start, leading, stride, base_offset, swizzle;

  explicit Descriptor(uint64_t bits)
      : start(field(bits, 0)),
        leading(field(bits, 16)),
        stride(field(bits, 32)),
        base_offset(bits >> 49 & 7),
        swizzle(bits >> 62) {}

 private:
  static uint32_t field(uint64_t bits, int first) { return (bits >> first & 0x3FFF) << 4; }
};

/// An operand of `count` rows (of A) or columns (of B) × 16 as [count][16]; PTX ISA, "Shared Memory Matrix
/// Layout" and "Strides".
std::vector<float> read_operand(uint64_t bits, int count, bool transposed, const Product& product,
                                bool starts = false) {
  const Descriptor descriptor(bits);
  const auto refuse = [&](const char* why) { fail("wgmma at " + text(product.where) + " " + why); };
  if (descriptor.swizzle != 1 || descriptor.base_offset != 0)
    refuse("has a descriptor of another layout than swizzled rows of 128 bytes");
  constexpr uint32_t kRowBytes = 128;
  const int along = transposed ? std::min(count, 64) : kDepth;  // values in a row
  if (descriptor.start % kRowBytes + 2 * along > kRowBytes) refuse("reads beyond the end of a row");
  std::vector<float> values(count * kDepth);
  for (int i = 0; i < count; ++i)
    for (int k = 0; k < kDepth; ++k) {
      uint32_t address = descriptor.start;
      if (transposed)
        address += i / 64 * descriptor.leading + k / 8 * descriptor.stride + k % 8 * kRowBytes + i % 64 * 2;
      else
        address += i / 8 * descriptor.stride + i % 8 * kRowBytes + k * 2;
      address ^= (address >> 7 & 7) << 4;
      bf16 value;
      const unsigned char* source = Block::current().shared_memory().at(address, sizeof value);
      if (!source) refuse("reads outside of shared memory");
      if (starts && observer) observer->read_operand(source, sizeof value);
      std::memcpy(&value, source, sizeof value);
      values[i * kDepth + k] = to_float(value);
    }
  return values;
}

/// A from the registers of all threads; PTX ISA, "Matrix Fragments for wgmma.mma_async.m64nNk16".
std::vector<float> gather(Product* const* threads) {
  std::vector<float> values(kRows * kDepth);
  for (int thread = 0; thread < kWarpgroup; ++thread)
    for (int i = 0; i < 8; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
      const int column = thread % 4 * 2 + i % 2 + i / 4 * 8;
      const uint32_t word = threads[thread]->a[i / 2];
      values[row * kDepth + column] = to_float(bf16{static_cast<uint16_t>(word >> i % 2 * 16)});
    }
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void report_start(Product* const* threads) {
  if (!observer) return;
  observer->start_product(threads[0]->code);
  if (!threads[0]->a) return;
  const int first = Block::current().running() / kWarpgroup * kWarpgroup;
  for (int i = 0; i < kWarpgroup; ++i) observer->keep_registers(first + i, threads[i]->a);
}

}  // namespace

const AsyncProducts::UnderWay* AsyncProducts::latest_to(const float* target) const {
  for (auto product = products_.rbegin(); product != products_.rend(); ++product)
    if (product->product.d == target) return &*product;
  return nullptr;
}

void AsyncProducts::start(Product* const* threads) {
  const Product& first = *threads[0];
  if (!fenced_) fail("starts wgmma at " + text(first.where) + " without a fence since the last wait");
  UnderWay made{.product = first, .targets = {}, .a = {}, .b = {}, .result = {}, .group = group_};
  for (int i = 0; i < kWarpgroup; ++i) {
    const Product& other = *threads[i];
    if (other.a_descriptor != first.a_descriptor || other.b_descriptor != first.b_descriptor ||
        other.accumulate != first.accumulate)
      fail("comes to wgmma at " + text(first.where) + " with other operands than thread " +
           std::to_string(i) + " of its warpgroup");
    made.targets.push_back(other.d);
  }
  report_start(threads);
  made.a =
      first.a ? gather(threads) : read_operand(first.a_descriptor, kRows, first.a_transposed, first, true);
  made.b = read_operand(first.b_descriptor, first.columns, first.b_transposed, first, true);
  const UnderWay* before = latest_to(first.d);
  made.result.resize(kWarpgroup * first.columns / 2);
  for (int thread = 0; thread < kWarpgroup; ++thread)
    for (int i = 0; i < first.columns / 2; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
      const int column = thread % 4 * 2 + i % 2 + i / 4 * 8, at = thread * first.columns / 2 + i;
      float& target = threads[thread]->d[i];
      float sum = !first.accumulate ? 0.0f : before ? before->result[at] : target;
      for (int k = 0; k < kDepth; ++k) sum += made.a[row * kDepth + k] * made.b[column * kDepth + k];
      made.result[at] = sum;
      target = NAN;
    }
  products_.push_back(std::move(made));
}

void AsyncProducts::wait(int newest) {
  fenced_ = false;
  const auto under_way = std::find_if(products_.begin(), products_.end(), [&](const UnderWay& product) {
    return product.group >= group_ - newest;
  });
  for (auto done = products_.begin(); done != under_way; ++done) {
    const Product& product = done->product;
    if (!same_bits(done->b,
                   read_operand(product.b_descriptor, product.columns, product.b_transposed, product)) ||
        (!product.a &&
         !same_bits(done->a, read_operand(product.a_descriptor, kRows, product.a_transposed, product))))
      fail("waits for wgmma at " + text(product.where) + ", whose operands have changed meanwhile");
    if (latest_to(product.d) != &*done) continue;  // the next product goes on with it
    for (int thread = 0; thread < kWarpgroup; ++thread)
      std::copy_n(&done->result[thread * product.columns / 2], product.columns / 2, done->targets[thread]);
  }
  ended_ += under_way - products_.begin();
  products_.erase(products_.begin(), under_way);
  if (observer) observer->end_products(ended_);
}

void AsyncProducts::check_none_open() const {
  if (!products_.empty())
    fail("ends without having waited for wgmma at " + text(products_.front().product.where));
}

void AsyncProducts::clear() {
  products_.clear();
  group_ = ended_ = 0;
  fenced_ = false;
}

uint32_t shared_address(const void* pointer) {
  SharedMemory& memory = Block::current().shared_memory();
  if (!memory.contains(pointer, 16)) fail("makes a matrix descriptor of something else than shared memory");
  return memory.offset_of(pointer);
}

void fence_warpgroup(std::source_location where) {
  int nothing = 0;
  meet_warpgroup(
      "wgmma.fence", nothing, [](int* const*) { Block::current().products().fence(); }, where);
}

void start_product(Product mine) {
  mine.code = __builtin_return_address(0);
  meet_warpgroup(
      "wgmma", mine, [](Product* const* threads) { Block::current().products().start(threads); }, mine.where);
}

void close_product_group(std::source_location where) {
  int nothing = 0;
  meet_warpgroup(
      "wgmma.commit_group", nothing, [](int* const*) { Block::current().products().commit(); }, where);
}

void wait_for_products(int newest, std::source_location where) {
  meet_warpgroup(
      "wgmma.wait_group", newest, [](int* const* threads) { Block::current().products().wait(*threads[0]); },
      where);
}

void show_writes() {
  if (observer) observer->show_writes();
}

}  // namespace scrawl::simt
