// JSON: annotations of LabelMe, and the configuration beside Hugging Face's weights.
#include "tests/fuzz/annotation_use.h"
#include "train/weights/hugging_face.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace scrawl;
  check_annotations(AnnotationFormat::labelme, data, size);
  constexpr size_t kDocument = size_t{4} << 20;  // of 64 KB at most
  const std::string text(data, data + size);
  check_reader(
      size, [&] { parse_hugging_face_config(text, "config.json"); }, kDocument);
  return 0;
}
