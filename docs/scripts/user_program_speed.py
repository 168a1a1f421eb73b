"""Milliseconds per step of the user programs: Pyro's SVI, pyrogen's eager step, pyrogen's compiled step.

    OMP_NUM_THREADS=1 python docs/scripts/user_program_speed.py [-k horseshoe] [--rounds 7] [--steps 20]

The three ways take turns, a block of steps each, and the median over rounds is printed, as Markdown. What comes before
the rounds is not counted: parameters are made, and the graph is compiled; how long that took is the last column.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pyro
import torch
from pyro import infer
from torch.optim import Adam

from pyrogen import SVI

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from user_programs import USER_PROGRAMS  # type: ignore[import-not-found]

WAYS = ("Pyro", "eager", "compiled")


class Runner:
    """One way to train one program, in a parameter store of its own."""

    def __init__(self, name: str, way: str) -> None:
        self.store: dict[str, Any] = {"params": {}, "constraints": {}}
        torch.manual_seed(0)
        with pyro.get_param_store().scope(self.store):
            model, guide, self.batch, loss = USER_PROGRAMS[name]()
        self.refused: Callable[[], str | None] = lambda: None
        self.step: Callable[..., Any]
        if way == "Pyro":
            optim = pyro.optim.Adam({"lr": 1e-3})
            self.step = infer.SVI(model, guide, optim, loss or infer.Trace_ELBO()).step
        else:
            own = SVI(model, guide, partial(Adam, lr=1e-3), loss, compile=way == "compiled")
            self.step = own
            self.refused = lambda: own.refused
        start = time.perf_counter()
        self.run(10)
        self.seconds = time.perf_counter() - start

    def run(self, steps: int) -> float:
        """Milliseconds per step over some steps."""
        with pyro.get_param_store().scope(self.store):
            start = time.perf_counter()
            for _ in range(steps):
                self.step(*self.batch)
            return 1000 * (time.perf_counter() - start) / steps


def space(name: str, rounds: int, steps: int) -> str:
    """A program's row of the table."""
    runners = {way: Runner(name, way) for way in WAYS}
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, runner in runners.items():
            times[way].append(runner.run(steps))
    stock, eager, compiled = (median(times[way]) for way in WAYS)
    why = runners["compiled"].refused()
    last = f"eager: {why}" if why else f"{runners['compiled'].seconds:.0f} s to compile"
    return f"| {name} | {stock:.2f} | {eager:.2f} | {compiled:.2f} | {stock / compiled:.1f} | {last} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", help="only programs whose name contains this")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    print("| program | Pyro's SVI, ms per step | pyrogen, eager | pyrogen, compiled | times faster than Pyro | |")
    print("|---|---|---|---|---|---|")
    for name in USER_PROGRAMS:
        if asked.k in name:
            print(space(name, asked.rounds, asked.steps), flush=True)


if __name__ == "__main__":
    main()
