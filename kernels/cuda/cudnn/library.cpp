#include "kernels/cuda/cudnn/library.h"

#include <dlfcn.h>

namespace scrawl::cudnn {

namespace {

const std::string kName = fmt::format("libcudnn.so.{}", CUDNN_MAJOR);

/// Stays loaded to the program's end: it owns threads and GPU memory.
void* load() {
  void* library = dlopen(kName.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(fmt::format("cuDNN cannot be loaded: {}", dlerror()));
  return library;
}

}  // namespace

Symbol symbol(const char* name) {
  static void* const library = load();
  void* address = dlsym(library, name);
  if (!address) throw std::runtime_error(fmt::format("{} has no {}", kName, name));
  return {address};
}

const Library& library() {
  static const Library library;
  return library;
}

}  // namespace scrawl::cudnn
