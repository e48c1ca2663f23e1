// JSON annotations of LabelMe.
#include "tests/fuzz/annotation_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  scrawl::check_annotations(scrawl::AnnotationFormat::labelme, data, size);
  return 0;
}
