#include <gtest/gtest.h>

#include "tests/op_cases/check.h"

namespace scrawl::op_table {

void PrintTo(const OpCase& op, std::ostream* out) {
  *out << op.name;
}

namespace {

class OpTable : public ::testing::TestWithParam<OpCase> {};

TEST_P(OpTable, MatchesDoublePrecision) {
  check(GetParam(), Device::Options{}, Tolerance{});
}

INSTANTIATE_TEST_SUITE_P(Cpu, OpTable, ::testing::ValuesIn(all_op_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace scrawl::op_table
