"""``python -m pyrogen.bench``: what pyrogen costs, beside Pyro, torch and others, all in one run.

Tables: ``steps``, milliseconds per training step of everybody; ``costs``, start-up, compiler, evaluation, sampling and
memory; ``width``, milliseconds against the number of hidden units; ``rows``, examples per second against the size of
the data.
"""

import argparse
import json
import platform
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch

from pyrogen.bench import costs, sizes, steps
from pyrogen.bench.plot import bench_png
from pyrogen.bench.workloads import PAIRS, WORKLOADS
from pyrogen.compile.decompositions import processor
from pyrogen.errors import UserError
from pyrogen.training.malloc import retain_heap

BATCH_SIZES = {"vae": (64, 256, 1024)}
Row = dict[str, Any]


def _steps(chosen: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    for workload in chosen.workloads or WORKLOADS:
        for batch_size in chosen.batch_size or BATCH_SIZES.get(workload, (128,)):
            timings = steps.run(workload, batch_size, device, chosen.rounds, chosen.seconds)
            print(steps.table(workload, batch_size, timings), flush=True)
            yield from ({"workload": workload, "batch_size": batch_size, **vars(t)} for t in timings)


def _costs(chosen: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    started = costs.start_up(chosen.rounds)
    print(costs.table("start-up", {"fresh process": started}), flush=True)
    yield from ({"workload": "start-up", **vars(cost)} for cost in started)
    for batch_size in chosen.batch_size or (256,):
        columns = {}
        for workload in chosen.workloads or PAIRS:
            columns[workload] = list(costs.costs(workload, batch_size, device, chosen.k, chosen.rounds))
            yield from ({"workload": workload, "batch_size": batch_size, **vars(cost)} for cost in columns[workload])
        print(costs.table(f"batch {batch_size}", columns), flush=True)


def _width(chosen: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    for batch_size in chosen.batch_size or (256,):
        found = {}
        for width in chosen.widths:
            found[width] = steps.run_width(width, batch_size, device, chosen.rounds, chosen.seconds)
            yield from ({"workload": "vae", "batch_size": batch_size, "width": width, **vars(t)} for t in found[width])
        print(steps.width_table(batch_size, found), flush=True)


def _rows(chosen: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    for batch_size in chosen.batch_size or (256,):
        seconds = chosen.rounds * chosen.seconds
        rates = list(sizes.rates(chosen.rows, batch_size, str(device), seconds, chosen.folder))
        print(sizes.table(batch_size, rates), flush=True)
        yield from ({"workload": "vae", "batch_size": batch_size, **vars(rate)} for rate in rates)


TABLES = {"steps": _steps, "costs": _costs, "width": _width, "rows": _rows}
"""What measures each table, prints it, and gives its numbers."""


def keep(file: Path, measured: list[Row]) -> None:
    """Write rows to ``file``, in place of those there of the same table, workload and batch size."""

    def what(row: Row) -> tuple[Any, ...]:
        return row["table"], row["workload"], row.get("batch_size")

    new = {what(row) for row in measured}
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    rows = [row for row in rows if what(row) not in new] + measured
    file.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table asked for, or draw what earlier runs have measured."""
    parser = argparse.ArgumentParser(
        prog="python -m pyrogen.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--table", choices=TABLES, default="steps")
    parser.add_argument("--batch-size", type=int, nargs="+", help="256; steps: 64 256 1024 for vae, 128 for others")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender; the median is shown")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-k", type=int, default=100, help="costs: draws of the importance-weighted bound")
    parser.add_argument("--widths", type=int, nargs="+", default=(100, 200, 400, 800, 1600), help="width: hidden units")
    parser.add_argument("--rows", type=int, default=100_000, help="rows: the most; ten million take 2.4 GiB of disk")
    parser.add_argument("--folder", help="rows: where the files are written for the time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep the numbers in FILE, beside other tables'")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="measure nothing; draw what --json FILE holds")
    chosen = parser.parse_args(arguments)
    known = PAIRS if chosen.table == "costs" else WORKLOADS
    for workload in chosen.workloads:
        if workload not in known:
            parser.error(f"no workload {workload!r}: give some of {', '.join(known)}")
    if chosen.workloads and chosen.table in ("width", "rows"):
        parser.error(f"--table {chosen.table} is of one workload, a vae: name none")
    if chosen.rows < sizes.SMALLEST:
        parser.error(f"--rows must be at least {sizes.SMALLEST}; got {chosen.rows}")
    if chosen.plot:
        if not chosen.json or not chosen.json.exists():
            parser.error(f"--plot draws what an earlier run has kept: name its file by --json; got {chosen.json}")
        try:
            bench_png(json.loads(chosen.json.read_text(encoding="utf-8")), chosen.plot)
        except UserError as error:
            parser.error(f"{chosen.json}: {error}")
        return
    device = torch.device(chosen.device)
    retain_heap()  # everybody in this process gains by it
    place = torch.cuda.get_device_name() if device.type == "cuda" else processor() or platform.processor()
    machine = f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today()}"
    print(machine + "\n")
    measured = [{"table": chosen.table, "machine": machine, **row} for row in TABLES[chosen.table](chosen, device)]
    if chosen.json:
        keep(chosen.json, measured)


if __name__ == "__main__":
    main()
