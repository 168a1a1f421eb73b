"""Interleaved timing of several implementations, so that a slow period of the machine affects all of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

Step = Callable[[int], object]
"""Performs training step ``t``."""


CHUNK = 20
"""Rounds consist of whole chunks of steps, because some implementations run one chunk per compiled call."""


@dataclass(frozen=True)
class Contender:
    """An implementation of a training step.

    Args:
        name: its name in the table.
        step: performs one step.
        finish: waits until all asynchronous steps are complete.
        setup_seconds: the time for construction and compilation.
    """

    name: str
    step: Step
    finish: Callable[[], object] = lambda: None
    setup_seconds: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds per step of one implementation: the median over rounds, and the fastest and slowest round."""

    name: str
    milliseconds: float
    fastest: float
    slowest: float
    setup_seconds: float


def time_interleaved(contenders: list[Contender], rounds: int = 7, seconds: float = 0.5) -> list[Timing]:
    """Time all contenders in interleaved rounds.

    Args:
        contenders: the implementations.
        rounds: the number of rounds, over which the median is taken.
        seconds: the approximate time of each contender per round.
    """
    steps, times = {}, {c.name: [] for c in contenders}  # type: dict[str, int], dict[str, list[float]]
    for contender in contenders:
        _seconds_per_step(contender, CHUNK)
        steps[contender.name] = CHUNK * max(1, round(seconds / CHUNK / max(_seconds_per_step(contender, CHUNK), 1e-6)))
    for _ in range(rounds):
        for contender in contenders:
            time.sleep(0.05)  # lets the threads of the previous contender go idle
            times[contender.name].append(_seconds_per_step(contender, steps[contender.name]))
    return [
        Timing(c.name, 1e3 * median(times[c.name]), 1e3 * min(times[c.name]), 1e3 * max(times[c.name]), c.setup_seconds)
        for c in contenders
    ]


def with_setup_time(make: Callable[[], Contender]) -> Contender:
    """Create a contender and run three steps; return it with the seconds that this took."""
    began = time.perf_counter()
    contender = make()
    for t in range(3):
        contender.step(t)
    contender.finish()
    return Contender(contender.name, contender.step, contender.finish, time.perf_counter() - began)


def _seconds_per_step(contender: Contender, steps: int) -> float:
    began = time.perf_counter()
    for t in range(steps):
        contender.step(t)
    contender.finish()
    return (time.perf_counter() - began) / steps


def synchronise() -> None:
    """Wait for the GPU if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class RowCost:
    """Microseconds per row of a call: the median over rounds, and the fastest and slowest round."""

    name: str
    microseconds: float
    fastest: float
    slowest: float


def costs_of_rows(
    calls: Mapping[str, Callable[[], object]], rows: int, rounds: int, seconds: float
) -> Iterator[RowCost]:
    """Measure calls in interleaved rounds.

    Args:
        calls: by name; each processes so many rows.
        rows: their number.
        rounds: the number of rounds.
        seconds: the least time of each call per round.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(1e6 * seconds_per_call(call, seconds) / rows)
    for name, each in times.items():
        yield RowCost(name, median(each), min(each), max(each))


def row_costs_table(head: str, found: Sequence[RowCost]) -> str:
    """The costs as a Markdown table."""
    rule = "\n| | median | fastest | slowest |\n|---|---|---|---|"
    rows = [f"| {c.name} | {c.microseconds:.2f} | {c.fastest:.2f} | {c.slowest:.2f} |" for c in found]
    return "\n".join([head, rule, *rows, ""])


def seconds_per_call(call: Callable[[], object], seconds: float) -> float:
    """The mean time of a call, over at least ``seconds``, after one that is not timed."""
    call()
    synchronise()
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        call()
        n += 1
        synchronise()
    return (time.perf_counter() - began) / n
