#pragma once
// How inputs of cases are drawn.
#include "tests/op_cases/op_case.h"

namespace scrawl::op_table {

Draw normal(double scale = 1.0, double mean = 0.0);
Draw uniform_between(double low, double high);
/// Normal values at least 0.05 away from zero, where ReLU has its kink.
Draw away_from_zero();
/// Whole numbers in [0, bound): ties are frequent.
Draw whole_numbers(int bound);
Draw always(double value);
Draw exactly(Values values);
/// Classes, and 255 for a share of the pixels.
Draw labels(int classes, double unlabelled);
/// Tags [N,K]: background always, other classes with probability `share`.
Draw tags(double share = 0.5);

}  // namespace scrawl::op_table
