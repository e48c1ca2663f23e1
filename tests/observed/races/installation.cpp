// Has the race detector look on at all tests of this program: a race is a fault of the kernel's.
#include "tests/observed/races/race_detector.h"

namespace scrawl::simt {
namespace {

struct Installation {
  Installation() { observer = &detector; }
  RaceDetector detector;
} installation;

}  // namespace
}  // namespace scrawl::simt
