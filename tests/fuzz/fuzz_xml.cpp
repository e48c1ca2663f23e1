// XML annotations: ScribbleSup's strokes, CVAT's shapes and the objects of VOC.
#include "data/annotations/collect_tags.h"
#include "tests/fuzz/annotation_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace scrawl;
  check_annotations(AnnotationFormat::scribblesup, data, size);
  check_annotations(AnnotationFormat::cvat, data, size);
  check_reader(size, [&] { parse_voc_objects(std::string(data, data + size), voc_classes(), "file"); });
  return 0;
}
