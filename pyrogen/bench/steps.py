"""Milliseconds per training step: all implementations of one workload, and pyrogen and Pyro at several widths."""

import sys
from collections.abc import Iterable, Sequence
from functools import partial

import torch

from pyrogen.bench.networks.vae import vae
from pyrogen.bench.pairs import ContenderMaker, pyro_contender, pyrogen_contender
from pyrogen.bench.timing import Contender, Timing, time_interleaved, with_setup_time
from pyrogen.bench.workloads import contender_makers


def run(workload: str, batch_size: int, device: torch.device, rounds: int, seconds: float) -> list[Timing]:
    """Time all installed implementations, beginning with pyrogen compiled."""
    return time_interleaved(_available(workload, contender_makers(workload, batch_size, device)), rounds, seconds)


def table(workload: str, batch_size: int, timings: Sequence[Timing]) -> str:
    """Return a Markdown table, fastest first; ratios are the time of pyrogen compiled over that of the row."""
    compiled = timings[0].milliseconds
    rows = sorted(timings, key=lambda t: t.milliseconds)
    lines = [
        f"**{workload}, batch {batch_size}**\n",
        "| | ms per step | fastest, slowest round | first steps, s | pyrogen compiled takes |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.name} | {t.milliseconds:.2f} | {t.fastest:.2f}, {t.slowest:.2f} | {t.setup_seconds:.1f} "
        f"| {compiled / t.milliseconds:.2f}× |"
        for t in rows
    ]
    return "\n".join(lines) + "\n"


def run_width(width: int, batch_size: int, device: torch.device, rounds: int, seconds: float) -> list[Timing]:
    """Time pyrogen compiled, pyrogen eager and Pyro on VAEs with ``width`` hidden units."""
    pair = vae(batch_size, device, hidden=width)
    makers: list[ContenderMaker] = [
        partial(pyrogen_contender, pair, True),
        partial(pyrogen_contender, pair, False),
        partial(pyro_contender, pair),
    ]
    return time_interleaved(_available(f"width {width}", makers), rounds, seconds)


def width_table(batch_size: int, timings: dict[int, list[Timing]]) -> str:
    """Return a Markdown table: a row per width, a column per implementation."""
    names = [t.name for t in next(iter(timings.values()))]
    lines = [
        f"**vae, batch {batch_size}, ms per step**\n",
        f"| hidden units | {' | '.join(names)} |",
        "|---" * (1 + len(names)) + "|",
    ]
    for width, row in timings.items():
        lines.append(f"| {width} | {' | '.join(f'{t.milliseconds:.2f}' for t in row)} |")
    return "\n".join(lines) + "\n"


def _available(where: str, makers: Iterable[ContenderMaker]) -> list[Contender]:
    present = []
    for make in makers:
        try:
            present.append(with_setup_time(make))
        except (ImportError, RuntimeError, FileNotFoundError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            print(f"left out of {where}: {reason}", file=sys.stderr)
    return present
