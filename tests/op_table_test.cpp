#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <tuple>

#include "tests/op_cases/check.h"
#include "tests/op_cases/execute.h"
#include "tests/op_cases/sample.h"
#include "tests/paths.h"

namespace scrawl::op_table {

void PrintTo(const OpCase& op, std::ostream* out) {
  *out << op.name;
}

namespace {

struct Backend {
  DeviceKind kind = DeviceKind::cpu;
  bool portable = false, cudnn = false, cublas_only = false;

  Device::Options options() const {
    return {.kind = kind, .portable = portable, .cudnn = cudnn, .cublas_only = cublas_only};
  }
};
void PrintTo(const Backend& backend, std::ostream* out) {
  *out << name_of(backend.kind) << (backend.portable ? ", portable" : "")
       << (backend.cudnn ? " with cuDNN" : "") << (backend.cublas_only ? " with cuBLASLt only" : "");
}

using Parameters = std::tuple<Backend, DType, OpCase>;

class OpTable : public ::testing::TestWithParam<Parameters> {};

TEST_P(OpTable, MatchesDoublePrecision) {
  const auto& [backend, storage, op] = GetParam();
  if (const std::string reason = Device::absence(backend.kind); !reason.empty()) GTEST_SKIP() << reason;
  if (const std::string reason = backend.cudnn ? Device::cudnn_absence() : ""; !reason.empty())
    GTEST_SKIP() << reason;
  check(op, backend.options(), storage, backend.cudnn ? cudnn_tolerance(storage) : Tolerance{});
}

auto table(Backend backend, DType storage, const std::vector<OpCase>& cases) {
  return ::testing::Combine(::testing::Values(backend), ::testing::Values(storage),
                            ::testing::ValuesIn(cases));
}

std::vector<OpCase> joined(std::vector<OpCase> cases, const std::vector<OpCase>& more) {
  cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

auto table(Backend backend, DType storage) {
  return table(backend, storage, all_op_cases(storage));
}

std::string name_of_test(const ::testing::TestParamInfo<Parameters>& test) {
  return std::get<OpCase>(test.param).name;
}

INSTANTIATE_TEST_SUITE_P(Cpu, OpTable, table({DeviceKind::cpu}, DType::f32), name_of_test);
// What has kernels for Hopper alone, by those that every GPU has.
const auto portable_cases = [] {
  std::vector<OpCase> cases;
  for (const auto& some : {convolution_cases(), matmul_cases(), linear_cases(), attention_cases(),
                           relu_cases(), layer_norm_cases(), residual_norm_cases(), decoder_fuse_cases()})
    cases = joined(cases, some);
  return cases;
};
#ifdef SCRAWL_SIMT
// The kernels of the GPU, run by the simulator.
INSTANTIATE_TEST_SUITE_P(Simt, OpTable, table({DeviceKind::simt}, DType::f32), name_of_test);
INSTANTIATE_TEST_SUITE_P(SimtBf16, OpTable, table({DeviceKind::simt}, DType::bf16), name_of_test);
constexpr Backend kPortableSimt{.kind = DeviceKind::simt, .portable = true};
INSTANTIATE_TEST_SUITE_P(SimtPortableBf16, OpTable, table(kPortableSimt, DType::bf16, portable_cases()),
                         name_of_test);
#endif
#ifdef SCRAWL_CUDA
INSTANTIATE_TEST_SUITE_P(Cuda, OpTable, table({DeviceKind::cuda}, DType::f32), name_of_test);
INSTANTIATE_TEST_SUITE_P(CudaBf16, OpTable, table({DeviceKind::cuda}, DType::bf16), name_of_test);
constexpr Backend kPortable{.kind = DeviceKind::cuda, .portable = true};
INSTANTIATE_TEST_SUITE_P(PortableBf16, OpTable, table(kPortable, DType::bf16, portable_cases()),
                         name_of_test);
// Products that have kernels of our own, all of bf16, by the library.
constexpr Backend kCublas{.kind = DeviceKind::cuda, .cublas_only = true};
INSTANTIATE_TEST_SUITE_P(CublasBf16, OpTable, table(kCublas, DType::bf16, matmul_cases()), name_of_test);
#endif
#ifdef SCRAWL_CUDNN
// Operations that have a second implementation.
const auto cudnn_cases = [] { return joined(convolution_cases(), batch_norm_relu_cases()); };
constexpr Backend kCudnn{.kind = DeviceKind::cuda, .cudnn = true};
INSTANTIATE_TEST_SUITE_P(Cudnn, OpTable, table(kCudnn, DType::f32, cudnn_cases()), name_of_test);
INSTANTIATE_TEST_SUITE_P(CudnnBf16, OpTable, table(kCudnn, DType::bf16, cudnn_cases()), name_of_test);
#endif

/// What the argument structs of kernels/*.h are called.
std::set<std::string> declared_kernels(const std::filesystem::path& folder) {
  static const std::regex kName(R"re(std::string_view name = "([^"]+)")re");
  std::set<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".h") continue;
    std::ifstream in(file.path());
    for (std::string line; std::getline(in, line);)
      if (std::smatch match; std::regex_search(line, match, kName)) names.insert(match[1]);
  }
  return names;
}

TEST(OpTableAsAWhole, RunsEveryKernel) {
  const std::filesystem::path folder = test_directory().parent_path() / "kernels";
  if (!is_directory(folder)) GTEST_SKIP() << "without the sources";
  Profiler profiler;
  for (const OpCase& op : all_op_cases(DType::f32)) {
    const Sample sample(op, DType::f32);
    execute(op,
            {.options = {.threads = 1},
             .inputs = sample.inputs,
             .differentiated = sample.differentiated,
             .cotangent = sample.cotangent,
             .slots = Slots::stale,
             .gradients = std::vector<Stored>(op.inputs.size())},
            &profiler);
  }
  std::set<std::string> run = {"augmentation.crops"};  // see tests/kernels/augmentation_test.cpp
  for (const auto& [key, entry] : profiler.entries()) run.emplace(key.kernel);
  const std::set<std::string> declared = declared_kernels(folder);
  EXPECT_TRUE(declared.contains("attention.backward"));
  EXPECT_THAT(run, ::testing::IsSupersetOf(declared));
}

TEST(OpReference, GradientsMatchNumericDifferences) {
  for (const OpCase& op : all_op_cases(DType::f32)) check_reference(op);
}

}  // namespace
}  // namespace scrawl::op_table
