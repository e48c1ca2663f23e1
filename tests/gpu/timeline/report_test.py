#!/usr/bin/env python3
"""That report.py tells what a step waits for."""
import pathlib
import tempfile
import unittest

import report

STEP = """\
1000\t11000\t7\t1\t64\t10\t256\tvoid scrawl::cuda::(anonymous namespace)::go_back<8, scrawl::Pack<float, 4> >(scrawl::cuda::Layer, float*)
3000\t9000\t7\t1\t64\t10\t256\tnvjet_tst_128x64
11500\t21000\t7\t1\t64\t10\t256\tscrawl::cuda::(anonymous namespace)::add(scrawl::WeightedSum)
12000\t13000\t7\t1\t0\t0\t0\tfill
0\t0\t7\t1\t64\t10\t256\tlost
500\t900\t8\t0\t64\t10\t256\tlaunched_alone
"""


class Report(unittest.TestCase):
    def kernels(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "timeline.tsv")
            path.write_text(STEP + STEP.replace("\t7\t1", "\t9\t1").replace("21000", "25000"))
            return report.median_step(report.replays(path))

    def test_takes_replays_of_graphs_alone(self):
        kernels, count = self.kernels()
        self.assertEqual(count, 2)
        self.assertEqual([k.name for k in kernels], ["go_back(Layer)", "nvjet_tst_128x64", "add(WeightedSum)", "fill"])

    def test_finds_what_runs_alone_and_what_is_waited_for(self):
        kernels, _ = self.kernels()
        at_once, alone = report.shares(kernels)
        self.assertEqual((at_once[0], at_once[1], at_once[2]), (500, 16500, 7000))
        self.assertEqual((alone["go_back(Layer)"], alone["add(WeightedSum)"], alone["fill"]), (4000, 12500, 0))
        self.assertEqual([(k.name, gap) for k, gap in report.chain(kernels)], [("go_back(Layer)", 0), ("add(WeightedSum)", 500)])


if __name__ == "__main__":
    unittest.main()
