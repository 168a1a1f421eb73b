"""Costs besides training steps: start-up, compilation, evaluation, sampling, memory."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from pyrogen.bench.subprocess_runs import run_in_subprocess
from pyrogen.bench.timing import synchronise
from pyrogen.bench.workloads import PAIRS
from pyrogen.data.dataset import Split
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.samples import N_SAMPLES

START_UP = {
    "python alone": ["-c", "pass"],
    "import pyrogen": ["-c", "import pyrogen"],
    "pyrogen --help": ["-m", "pyrogen", "--help"],
    "import torch": ["-c", "import torch"],
    "import pyrogen; pyrogen.SVI": ["-c", "import pyrogen; pyrogen.SVI"],
}
"""The arguments of the new Python processes."""


@dataclass(frozen=True)
class Cost:
    """One measured number with its name and unit."""

    name: str
    value: float
    unit: str


def start_up(rounds: int) -> list[Cost]:
    """Measure the run time of new processes in seconds."""
    costs = []
    for name, arguments in START_UP.items():
        process = partial(subprocess.run, [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        costs.append(Cost(name, _median(process, rounds), "s"))
    return costs


def costs(workload: str, batch_size: int, device: torch.device, k: int, rounds: int) -> Iterator[Cost]:
    """Measure compilation and memory in new processes, and the rates of ``evaluate`` and of sampling.

    Args:
        workload: the name of a Pyro pair.
        batch_size: rows of a training step, and of the split that is evaluated.
        device: the device to use.
        k: importance samples of the bound; ignored by models without latent variables.
        rounds: repetitions of evaluation and sampling, of which the median is reported.
    """
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = (
            run_in_subprocess("first_steps", workload, batch_size, str(device), True, cache=Path(folder)) for _ in "12"
        )
    eager = run_in_subprocess("first_steps", workload, batch_size, str(device), False)
    yield Cost("compiling, no cache", cold["seconds"], "s")
    yield Cost("compiling, warm cache", warm["seconds"], "s")
    yield Cost("peak memory, eager", eager["peak"], "MiB")
    yield Cost("peak memory, compiled", cold["peak"], "MiB")
    yield Cost("peak memory, compiled over eager", cold["peak"] / eager["peak"], "")
    pair = PAIRS[workload](batch_size, device)
    step = pair.step(compile=False)
    step(*pair.batch(0))
    batch = pair.batch(1)
    split = Split(batch[0], batch[1] if len(batch) > 1 else None)
    yield Cost(f"evaluate, k={k}", batch_size / _median(lambda: evaluate(step, split, k=k), rounds), "data/s")
    yield Cost("sampling", N_SAMPLES / _median(lambda: step.sample(N_SAMPLES), rounds), "data/s")


def table(head: str, columns: dict[str, list[Cost]]) -> str:
    """Return a Markdown table: a row per cost, a column per workload."""
    lines = [f"**{head}**\n", f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for costs in zip(*columns.values(), strict=True):
        unit = f", {costs[0].unit}" if costs[0].unit else ""
        values = (f"{c.value:,.0f}" if c.value >= 100 else f"{c.value:.2f}" for c in costs)
        lines.append(f"| {costs[0].name}{unit} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _median(work: Callable[[], object], rounds: int) -> float:
    """The median run time of ``work`` in seconds, after one warm-up call."""
    return median([_seconds(work) for _ in range(rounds + 1)][1:])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - began
