// Notes when kernels run on an NVIDIA GPU, those of CUDA graphs, too.  The driver loads this library into any
// program whose environment names it (see timeline.sh):
//   CUDA_INJECTION64_PATH=libscrawl_timeline.so SCRAWL_TIMELINE=FILE PROGRAM …
// FILE gets a line for each kernel, copy and fill, separated by tabs: start and end in nanoseconds, the
// launch that it belongs to (a graph's replay is one), whether it is a graph's, registers a thread, blocks,
// threads of a block, name.
#include <cuda.h>
#include <cupti.h>
#include <cxxabi.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace {

#if CUDA_VERSION >= 13000
using Kernel = CUpti_ActivityKernel10;
#else
using Kernel = CUpti_ActivityKernel9;
#endif
using Copy = CUpti_ActivityMemcpy6;
using Fill = CUpti_ActivityMemset4;

constexpr size_t kBufferBytes = 8 << 20;

std::FILE* out = nullptr;
std::mutex writing;  // CUPTI completes buffers on a thread of its own

void fail(const char* what, CUptiResult status) {
  const char* why = "";
  cuptiGetResultString(status, &why);
  std::fprintf(stderr, "timeline: %s: %s\n", what, why);
}

void write(uint64_t start, uint64_t end, uint32_t launch, uint32_t graph, unsigned registers, int64_t blocks,
           int64_t threads, const char* name) {
  std::fprintf(out, "%" PRIu64 "\t%" PRIu64 "\t%" PRIu32 "\t%d\t%u\t%" PRId64 "\t%" PRId64 "\t%s\n", start,
               end, launch, graph != 0, registers, blocks, threads, name);
}

void write(const Kernel& kernel) {
  int status = 0;
  char* const readable = abi::__cxa_demangle(kernel.name, nullptr, nullptr, &status);
  write(kernel.start, kernel.end, kernel.correlationId, kernel.graphId, kernel.registersPerThread,
        int64_t{kernel.gridX} * kernel.gridY * kernel.gridZ,
        int64_t{kernel.blockX} * kernel.blockY * kernel.blockZ, status == 0 ? readable : kernel.name);
  std::free(readable);
}

void write(const CUpti_Activity& record) {
  if (record.kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
    write(reinterpret_cast<const Kernel&>(record));
  } else if (record.kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
    const auto& copy = reinterpret_cast<const Copy&>(record);
    write(copy.start, copy.end, copy.correlationId, copy.graphId, 0, 0, 0, "copy");
  } else if (record.kind == CUPTI_ACTIVITY_KIND_MEMSET) {
    const auto& fill = reinterpret_cast<const Fill&>(record);
    write(fill.start, fill.end, fill.correlationId, fill.graphId, 0, 0, 0, "fill");
  }
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* bytes, size_t* most_records) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *bytes = *buffer ? kBufferBytes : 0;
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext context, uint32_t stream, uint8_t* buffer, size_t, size_t bytes) {
  const std::lock_guard lock(writing);
  CUpti_Activity* record = nullptr;
  while (out && cuptiActivityGetNextRecord(buffer, bytes, &record) == CUPTI_SUCCESS) write(*record);
  size_t dropped = 0;
  if (cuptiActivityGetNumDroppedRecords(context, stream, &dropped) == CUPTI_SUCCESS && dropped > 0)
    std::fprintf(stderr, "timeline: %zu kernels were not noted\n", dropped);
  std::free(buffer);
}

void finish() {
  if (const CUptiResult status = cuptiActivityFlushAll(1); status != CUPTI_SUCCESS) fail("flush", status);
  const std::lock_guard lock(writing);
  std::fclose(out);
  out = nullptr;
}

}  // namespace

/// What the driver calls when it starts.
extern "C" int InitializeInjection() {
  const char* const path = std::getenv("SCRAWL_TIMELINE");
  if (!path || !(out = std::fopen(path, "w"))) {
    std::fprintf(stderr, "timeline: SCRAWL_TIMELINE names no file that can be written\n");
    return 0;
  }
  CUptiResult status = cuptiActivityRegisterCallbacks(give_buffer, take_buffer);
  for (const CUpti_ActivityKind kind :
       {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET})
    if (status == CUPTI_SUCCESS) status = cuptiActivityEnable(kind);
  if (status != CUPTI_SUCCESS) {
    fail("CUPTI does not record", status);
    return 0;
  }
  std::atexit(finish);
  return 1;
}
