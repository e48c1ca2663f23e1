#!/usr/bin/env python3
"""Puts what benchmark.sh measured into one table: results.md and results.json.

  benchmark_report.py OUT_DIR COMMIT DEVICE
"""
import datetime
import json
import pathlib
import sys


def rows_of(out):
    """One dict a measured step: who, what, times.  Ours come many to a file, PyTorch's one."""
    rows = []
    for path in sorted(out.glob("*.json")):
        if path.stem == "results":
            continue
        measured = json.loads(path.read_text())
        if path.stem.startswith("torch_"):
            rows.append(dict(program=f"PyTorch {measured['torch']} {measured['variant']}", backbone=measured["backbone"],
                             crop=measured["crop"], batch=measured["batch"], phase=measured["phase"],
                             ms=measured["ms_per_step"], min_ms=measured["min_ms"], max_ms=measured["max_ms"],
                             images_per_second=measured["images_per_s"], peak_mib=measured["peak_mib"]))
        else:
            how = ", kernel by kernel" if path.stem.endswith("kernel_by_kernel") else ""
            how += ", portable" if measured.get("portable") else ""
            for step in measured.get("steps", []):
                rows.append(dict(program=f"scrawl {measured['precision']}{how}", **step))
    return rows


def cell(row, key, digits):
    return "–" if row.get(key) is None else f"{row[key]:.{digits}f}"


def steps_table(rows):
    rows = sorted(rows, key=lambda r: (r["backbone"], r["crop"], r["batch"], r["phase"], r.get("ms", 1e9)))
    best = {}
    for row in rows:
        if row["program"].startswith("scrawl") and "ms" in row:
            best.setdefault((row["backbone"], row["crop"], row["batch"], row["phase"]), row["ms"])
    yield "| step | program | ms (min … max) | images/s | peak MiB | floor ms | of floor | ours is faster by |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        what = (row["backbone"], row["crop"], row["batch"], row["phase"])
        name = "{}/{}/{} {}".format(*what)
        if row.get("out_of_memory"):
            yield f"| {name} | {row['program']} | out of memory | | | | | |"
            continue
        times = f"{row['ms']:.3f} ({row['min_ms']:.3f} … {row['max_ms']:.3f})"
        share = "–" if row.get("share_of_floor") is None else f"{100 * row['share_of_floor']:.0f} %"
        faster = f"{row['ms'] / best[what]:.2f}×" if what in best and row["program"].startswith("PyTorch") else ""
        yield (f"| {name} | {row['program']} | {times} | {cell(row, 'images_per_second', 1)} | "
               f"{cell(row, 'peak_mib', 0)} | {cell(row, 'floor_ms', 3)} | {share} | {faster} |")


def library_cell(kernel):
    """What a library takes for the same work, unless the kernel is the library's already."""
    return "same" if kernel["by"] != "own" else cell(kernel, "library_us", 1)


def kernel_tables(out):
    for path in sorted(out.glob("scrawl_*kernels.json")):
        measured = json.loads(path.read_text())
        yield ""
        yield (f"Kernels of {measured['backbone']}/{measured['crop']}/{measured['batch']} {measured['phase']}, "
               f"{measured['precision']}; peaks: {measured['peak_gb_per_second']:.0f} GB/s, "
               f"{measured['peak_tflops']:.1f} TFLOP/s.")
        yield ""
        compared = "library_us" in measured["kernels"][0]
        yield f"| kernel | calls | MB | MFLOP | µs a call |{' library µs |' * compared} GB/s | TFLOP/s | of peak |"
        yield f"|---|---|---|---|---|{'---|' * compared}---|---|---|"
        for k in measured["kernels"]:
            library = f" {library_cell(k)} |" if compared else ""
            yield (f"| {k['kernel']} | {k['calls']} | {k['bytes'] / 1e6:.2f} | {k['flops'] / 1e6:.1f} | {k['us']:.1f} |"
                   f"{library} {k['bytes'] / k['us'] / 1e3:.0f} | {k['flops'] / k['us'] / 1e6:.2f} | "
                   f"{100 * k['share_of_peak']:.0f} % |")


def main():
    out, commit, device = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    rows = rows_of(out)
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    lines = [f"# Measured on {device}", "", f"{date}, commit {commit}.", "", *steps_table(rows), *kernel_tables(out)]
    text = "\n".join(lines) + "\n"
    (out / "results.md").write_text(text)
    (out / "results.json").write_text(json.dumps(dict(device=device, commit=commit, date=date, steps=rows), indent=2))
    print(text)


if __name__ == "__main__":
    main()
