#!/usr/bin/env python3
"""Says where the time of a training step goes, from what record.cpp has noted of its graph's replays.

  report.py FILE

Of all replays of the graph that was replayed most, the median one.  "Alone" is time in which no other kernel runs.  The
chain is what the end of the step has waited for: from the last kernel back to the one that ended last before it began,
and so on; of what is not on it, nothing but what it takes from others counts."""
import collections
import re
import sys

Kernel = collections.namedtuple("Kernel", "start end name")


def short(name):
    """A function's own name and the type of what it is given first; names of libraries' kernels as they are."""
    name = name.replace("(anonymous namespace)::", "")
    while (without := re.sub(r"<[^<>]*>", "", name)) != name:
        name = without
    function, _, parameters = name.partition("(")
    function, first = function.split()[-1], re.split("[,)]", parameters)[0].strip()
    if not function.startswith("scrawl::"):
        return function[:60]
    return f"{function.split('::')[-1]}({first.split('::')[-1]})"


def replays(path):
    """Lists of kernels in the order of their starts, one for each replay of a graph."""
    found = collections.defaultdict(list)
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            start, end, launch, of_graph, *_, name = line.rstrip("\n").split("\t")
            if of_graph == "1" and int(start) < int(end):  # both are 0 where CUPTI could not tell
                found[int(launch)].append(Kernel(int(start), int(end), short(name)))
    return [sorted(kernels) for kernels in found.values()]


def span(kernels):
    return max(k.end for k in kernels) - kernels[0].start


def median_step(all_replays):
    """Graphs are told apart by the kernels that they hold."""
    graphs = collections.defaultdict(list)
    for kernels in all_replays:
        graphs[tuple(sorted(k.name for k in kernels))].append(kernels)
    steps = sorted(max(graphs.values(), key=lambda steps: (len(steps), len(steps[0]))), key=span)
    return steps[len(steps) // 2], len(steps)


def shares(kernels):
    """How long so many kernels ran at once, and how long each name ran alone, in ns."""
    at_once, alone = collections.Counter(), collections.Counter()
    events = sorted([(k.start, 1, i) for i, k in enumerate(kernels)] + [(k.end, 0, i) for i, k in enumerate(kernels)])
    running, before = set(), events[0][0]
    for time, begins, index in events:
        at_once[len(running)] += time - before
        if len(running) == 1:
            alone[kernels[next(iter(running))].name] += time - before
        running.add(index) if begins else running.remove(index)
        before = time
    return at_once, alone


def chain(kernels):
    """From the first to the last, and the gaps ahead of each in ns."""
    by_end = sorted(kernels, key=lambda k: k.end)
    links, at = [], len(by_end) - 1
    while True:
        kernel = by_end[at]
        at = next((i for i in range(at - 1, -1, -1) if by_end[i].end <= kernel.start), None)
        links.append((kernel, kernel.start - by_end[at].end if at is not None else 0))
        if at is None:
            return links[::-1]


def report(kernels, count):
    at_once, alone = shares(kernels)
    links = chain(kernels)
    us = 1e-3
    yield (f"Median of {count} replays: {span(kernels) * us:.0f} µs, {len(kernels)} kernels. "
           f"None ran for {at_once[0] * us:.0f} µs, one for {at_once[1] * us:.0f}, two for {at_once[2] * us:.0f}, more for "
           f"{sum(t for n, t in at_once.items() if n > 2) * us:.0f}. The chain: {len(links)} kernels, "
           f"{sum(k.end - k.start for k, _ in links) * us:.0f} µs, and {sum(gap for _, gap in links) * us:.0f} µs between them.")
    yield ""
    yield "| kernel | calls | µs | alone µs | on the chain | µs there | gaps ahead of it µs |"
    yield "|---|---|---|---|---|---|---|"
    calls, time, there, time_there, gaps = (collections.Counter() for _ in range(5))
    for k in kernels:
        calls[k.name] += 1
        time[k.name] += k.end - k.start
    for k, gap in links:
        there[k.name] += 1
        time_there[k.name] += k.end - k.start
        gaps[k.name] += gap
    for name in sorted(calls, key=lambda n: (-time_there[n], -time[n])):
        yield (f"| {name} | {calls[name]} | {time[name] * us:.1f} | {alone[name] * us:.1f} | {there[name]} | "
               f"{time_there[name] * us:.1f} | {gaps[name] * us:.1f} |")


def main():
    steps = replays(sys.argv[1])
    if not steps:
        sys.exit("timeline: no replay of a graph was recorded")
    print("\n".join(report(*median_step(steps))))


if __name__ == "__main__":
    main()
