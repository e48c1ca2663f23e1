#include "train/sample_memory.h"

#include <cstring>

#include "engine/tensor.h"
#include "engine/uploads.h"

namespace scrawl {
namespace {

class DeviceSamples : public SampleMemory {
 public:
  DeviceSamples(Device& device, const SampleStore& store)
      : store_(store), samples_(device, {store.bytes()}, DType::u8) {}

  void write(int64_t offset, const void* data, int64_t bytes) override {
    samples_.device().upload(samples_.data<uint8_t>() + offset, data, bytes);
  }

  std::vector<const LabelledPixel*> bring(std::span<const int> batch, std::span<const int>) override {
    std::vector<const LabelledPixel*> pixels;
    for (const int i : batch)
      pixels.push_back(
          reinterpret_cast<const LabelledPixel*>(samples_.data<uint8_t>() + store_.place(i).offset));
    return pixels;
  }

 private:
  const SampleStore& store_;
  Tensor samples_;
};

/// Two places on the device, each for the samples of a batch: while kernels read one, the other is filled.
class PinnedSamples : public SampleMemory {
 public:
  PinnedSamples(Device& device, const SampleStore& store, int batch_size)
      : store_(store),
        samples_(device, store.bytes()),
        stages_{Stage(device, batch_size * store.largest()), Stage(device, batch_size * store.largest())},
        uploads_(device) {}

  void write(int64_t offset, const void* data, int64_t bytes) override {
    std::memcpy(samples_.data() + offset, data, bytes);
  }

  std::vector<const LabelledPixel*> bring(std::span<const int> batch,
                                          std::span<const int> following) override {
    current_ = 1 - current_;
    if (!std::ranges::equal(stages_[current_].samples, batch)) fill(stages_[current_], batch);
    uploads_.before_kernels();
    fill(stages_[1 - current_], following);
    return stages_[current_].pixels;
  }

 private:
  struct Stage {
    Stage(Device& device, int64_t bytes) : memory(device, {bytes}, DType::u8) {}
    Tensor memory;
    std::vector<int> samples;  // what it holds, as soon as uploads are done
    std::vector<const LabelledPixel*> pixels;
  };

  void fill(Stage& stage, std::span<const int> samples) {
    uploads_.after_kernels();
    stage.samples.assign(samples.begin(), samples.end());
    stage.pixels.clear();
    uint8_t* to = stage.memory.data<uint8_t>();
    for (const int i : samples) {
      const SampleStore::Place& place = store_.place(i);
      uploads_.start(to, samples_.data() + place.offset, place.bytes());
      stage.pixels.push_back(reinterpret_cast<const LabelledPixel*>(to));
      to += place.bytes();
    }
  }

  const SampleStore& store_;
  PinnedMemory samples_;
  Stage stages_[2];
  int current_ = 0;
  Uploads uploads_;  // last: waits for its copies before anything above goes away
};

}  // namespace

FreeMemory free_memory(const Device& device) {
  return {.device = device.free_bytes(), .host = host_free_bytes()};
}

SampleHome choose_home(int64_t bytes, const FreeMemory& free) {
  if (bytes <= free.device / 2) return SampleHome::device;
  return bytes <= free.host / 2 ? SampleHome::pinned : SampleHome::files;
}

std::unique_ptr<SampleMemory> make_sample_memory(Device& device, const SampleStore& store, SampleHome home,
                                                 int batch_size) {
  require(home != SampleHome::files, "samples that stay in their files need no memory");
  if (home == SampleHome::device) return std::make_unique<DeviceSamples>(device, store);
  return std::make_unique<PinnedSamples>(device, store, batch_size);
}

}  // namespace scrawl
