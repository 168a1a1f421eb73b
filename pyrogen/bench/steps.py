"""Milliseconds per training step: everybody on one workload, and pyrogen beside Pyro at several widths."""

import sys
from collections.abc import Iterable, Sequence
from functools import partial

import torch

from pyrogen.bench.pairs import Maker, ours, stock
from pyrogen.bench.timing import Contender, Timing, race, timed
from pyrogen.bench.vae import vae
from pyrogen.bench.workloads import makers


def run(workload: str, batch_size: int, device: torch.device, rounds: int, seconds: float) -> list[Timing]:
    """Race everybody who is installed; pyrogen compiled comes first."""
    return race(_present(workload, makers(workload, batch_size, device)), rounds, seconds)


def table(workload: str, batch_size: int, timings: Sequence[Timing]) -> str:
    """Markdown, fastest first; ratios are pyrogen compiled's time over the contender's."""
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
    """Race pyrogen compiled and eager and Pyro on autoencoders with ``width`` hidden units."""
    pair = vae(batch_size, device, hidden=width)
    three: list[Maker] = [partial(ours, pair, True), partial(ours, pair, False), partial(stock, pair)]
    return race(_present(f"width {width}", three), rounds, seconds)


def width_table(batch_size: int, timings: dict[int, list[Timing]]) -> str:
    """Markdown: a line for each width, a column for each contender."""
    names = [t.name for t in next(iter(timings.values()))]
    lines = [
        f"**vae, batch {batch_size}, ms per step**\n",
        f"| hidden units | {' | '.join(names)} |",
        "|---" * (1 + len(names)) + "|",
    ]
    for width, row in timings.items():
        lines.append(f"| {width} | {' | '.join(f'{t.milliseconds:.2f}' for t in row)} |")
    return "\n".join(lines) + "\n"


def _present(where: str, everybody: Iterable[Maker]) -> list[Contender]:
    present = []
    for make in everybody:
        try:
            present.append(timed(make))
        except (ImportError, RuntimeError, FileNotFoundError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            print(f"left out of {where}: {reason}", file=sys.stderr)
    return present
