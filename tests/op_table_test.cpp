#include <gtest/gtest.h>

#include <tuple>

#include "tests/op_cases/check.h"

namespace scrawl::op_table {

void PrintTo(const OpCase& op, std::ostream* out) {
  *out << op.name;
}

namespace {

class OpTable : public ::testing::TestWithParam<std::tuple<DeviceKind, OpCase>> {};

TEST_P(OpTable, MatchesDoublePrecision) {
  check(std::get<1>(GetParam()), {.kind = std::get<0>(GetParam())}, Tolerance{});
}

std::string name_of_test(const ::testing::TestParamInfo<OpTable::ParamType>& test) {
  return std::get<1>(test.param).name;
}

INSTANTIATE_TEST_SUITE_P(Cpu, OpTable,
                         ::testing::Combine(::testing::Values(DeviceKind::cpu),
                                            ::testing::ValuesIn(all_op_cases())),
                         name_of_test);
#ifdef SCRAWL_SIMT
// The kernels of the GPU, run by the simulator.
INSTANTIATE_TEST_SUITE_P(Simt, OpTable,
                         ::testing::Combine(::testing::Values(DeviceKind::simt),
                                            ::testing::ValuesIn(all_op_cases())),
                         name_of_test);
#endif

}  // namespace
}  // namespace scrawl::op_table
