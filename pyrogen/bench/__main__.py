"""``python -m pyrogen.bench``: the cost of pyrogen compared with Pyro, torch and others, in one run.

Tables: ``steps``, milliseconds per training step of each implementation, interleaved; ``costs``, start-up, compilation,
evaluation, sampling and memory; ``width``, milliseconds against the number of hidden units; ``rows``, examples per
second against the size of the data; ``ais``, microseconds per leapfrog step of annealed importance sampling; ``iwae``,
microseconds per draw of the importance-weighted bound; ``gpu``, checks of a GPU against the CPU, then its times beside
their lower bounds. A table may be named in place of the workloads: ``python -m pyrogen.bench gpu``.
"""

import argparse
import json
import platform
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pyrogen.bench import annealing, bound, costs, sizes, steps
from pyrogen.bench.gpu import figures
from pyrogen.bench.plot import bench_png
from pyrogen.bench.timing import row_costs_table
from pyrogen.bench.workloads import PAIRS, WORKLOADS
from pyrogen.compile.graph.products import processor
from pyrogen.errors import UserError
from pyrogen.files import write_whole
from pyrogen.training.memory import retain_heap

BATCH_SIZES = {"vae": (64, 256, 1024)}
Row = dict[str, Any]


def _steps(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    for workload in args.workloads or WORKLOADS:
        for batch_size in args.batch_size or BATCH_SIZES.get(workload, (128,)):
            timings = steps.run(workload, batch_size, device, args.rounds, args.seconds)
            print(steps.table(workload, batch_size, timings), flush=True)
            yield from ({"workload": workload, "batch_size": batch_size, **vars(t)} for t in timings)


def _costs(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    started = costs.start_up(args.rounds)
    print(costs.table("start-up", {"fresh process": started}), flush=True)
    yield from ({"workload": "start-up", **vars(cost)} for cost in started)
    for batch_size in args.batch_size or (256,):
        columns = {}
        for workload in args.workloads or PAIRS:
            columns[workload] = list(costs.costs(workload, batch_size, device, args.k, args.rounds))
            yield from ({"workload": workload, "batch_size": batch_size, **vars(cost)} for cost in columns[workload])
        print(costs.table(f"batch {batch_size}", columns), flush=True)


def _width(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    for batch_size in args.batch_size or (256,):
        found = {}
        for width in args.widths:
            found[width] = steps.run_width(width, batch_size, device, args.rounds, args.seconds)
            yield from ({"workload": "vae", "batch_size": batch_size, "width": width, **vars(t)} for t in found[width])
        print(steps.width_table(batch_size, found), flush=True)


def _rows(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    for batch_size in args.batch_size or (256,):
        seconds = args.rounds * args.seconds
        rates = list(sizes.rates(args.rows, batch_size, str(device), seconds, args.folder))
        print(sizes.table(batch_size, rates), flush=True)
        yield from ({"workload": "vae", "batch_size": batch_size, **vars(rate)} for rate in rates)


def _of_rows(name: str, args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    module = {"ais": annealing, "iwae": bound}[name]
    found = list(module.costs(device, args.rounds, args.seconds))
    print(row_costs_table(module.head(device), found), flush=True)
    yield from ({"workload": name, **vars(cost)} for cost in found)


def _gpu(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    failed = list(figures.failures(device))
    if failed:
        raise SystemExit(f"{len(failed)} checks failed; no times were measured")
    rates = figures.rates_of(device)
    for workload in figures.WORKLOADS:
        for batch_size in args.batch_size or (figures.BATCH_SIZE,):
            timings, bounds = figures.run(workload, batch_size, device, rates, args.rounds, args.seconds)
            print(figures.table(workload, batch_size, timings, bounds), flush=True)
            row = {"workload": workload, "batch_size": batch_size}
            yield from ({**row, **vars(timing)} for timing in timings)
            yield {**row, "name": "lower bounds", **vars(bounds)}
    yield from _of_rows("ais", args, device)


TABLES = {"steps": _steps, "costs": _costs, "width": _width, "rows": _rows, "gpu": _gpu} | {
    name: partial(_of_rows, name) for name in ("ais", "iwae")
}
"""The function that measures each table, prints it, and yields its numbers."""


def update_results(file: Path, measured: list[Row]) -> None:
    """Write rows to ``file``, replacing those of the same table, workload and batch size."""

    def key(row: Row) -> tuple[Any, ...]:
        return row["table"], row["workload"], row.get("batch_size")

    new = {key(row) for row in measured}
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    rows = [row for row in rows if key(row) not in new] + measured
    write_whole(file, json.dumps(rows, indent=1).encode())


def main(arguments: list[str] | None = None) -> None:
    """Measure and print one table, or plot the results of earlier runs."""
    parser = argparse.ArgumentParser(
        prog="python -m pyrogen.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--table", choices=TABLES, default="steps")
    parser.add_argument("--batch-size", type=int, nargs="+", help="256; steps: 64 256 1024 for vae, 128 for others")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each implementation; the median is shown")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a round")
    parser.add_argument("--device", help="by default cuda if there is one")
    parser.add_argument("-k", type=int, default=100, help="costs: importance samples of the bound")
    parser.add_argument("--widths", type=int, nargs="+", default=(100, 200, 400, 800, 1600), help="width: hidden units")
    parser.add_argument(
        "--rows", type=int, default=100_000, help="rows: the largest size; ten million take 2.4 GiB of disk"
    )
    parser.add_argument("--folder", help="rows: the folder of temporary files")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also store the numbers in FILE, with those of other tables"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="only plot the numbers in --json FILE")
    args = parser.parse_args(arguments)
    if len(args.workloads) == 1 and args.workloads[0] in TABLES:
        args.table, args.workloads = args.workloads[0], []
    known = PAIRS if args.table == "costs" else WORKLOADS
    for workload in args.workloads:
        if workload not in known:
            parser.error(f"unknown workload {workload!r}: expected some of {', '.join(known)}")
    if args.workloads and args.table in ("width", "rows", "ais", "iwae", "gpu"):
        parser.error(f"--table {args.table} takes no names of workloads")
    if args.table == "gpu" and args.device is None and not torch.cuda.is_available():
        parser.error("--table gpu needs a GPU, and torch finds none: --device cpu runs it on the CPU")
    if args.rows < sizes.SMALLEST:
        parser.error(f"--rows must be at least {sizes.SMALLEST}; got {args.rows}")
    if args.plot:
        if not args.json or not args.json.exists():
            parser.error(
                f"--plot needs the results of an earlier run: expected an existing file as --json; got {args.json}"
            )
        try:
            bench_png(json.loads(args.json.read_text(encoding="utf-8")), args.plot)
        except UserError as error:
            parser.error(f"{args.json}: {error}")
        return
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    retain_heap()  # benefits all implementations in this process alike
    processor_name = torch.cuda.get_device_name() if device.type == "cuda" else processor() or platform.processor()
    machine = f"{processor_name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today()}"
    print(machine + "\n")
    measured = [{"table": args.table, "machine": machine, **row} for row in TABLES[args.table](args, device)]
    if args.json:
        update_results(args.json, measured)


if __name__ == "__main__":
    main()
