"""Times of several contenders, taken in turns so that a slow minute of the machine hits all of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

Step = Callable[[int], object]
"""Does the work of training step ``t``."""


CHUNK = 20
"""Turns are of whole chunks of steps: who loops over steps in compiled code does one chunk at a time."""


@dataclass(frozen=True)
class Contender:
    """Someone who can do the step.

    Args:
        name: as in the table.
        step: does it once.
        finish: waits until all steps so far are done, where they run in the background.
        setup_seconds: what compiling, or building, took.
    """

    name: str
    step: Step
    finish: Callable[[], object] = lambda: None
    setup_seconds: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds per step of one contender: the median of its rounds, and the fastest and slowest round."""

    name: str
    milliseconds: float
    fastest: float
    slowest: float
    setup_seconds: float


def race(contenders: list[Contender], rounds: int = 7, seconds: float = 0.5) -> list[Timing]:
    """Let each contender run for about ``seconds`` in each round, one after another.

    Args:
        contenders: who runs.
        rounds: how often; the result is the median over them.
        seconds: how long a turn lasts, about.
    """
    steps, times = {}, {c.name: [] for c in contenders}  # type: dict[str, int], dict[str, list[float]]
    for contender in contenders:
        _turn(contender, CHUNK)
        steps[contender.name] = CHUNK * max(1, round(seconds / CHUNK / max(_turn(contender, CHUNK), 1e-6)))
    for _ in range(rounds):
        for contender in contenders:
            time.sleep(0.05)  # the threads of the one before go to sleep
            times[contender.name].append(_turn(contender, steps[contender.name]))
    return [
        Timing(c.name, 1e3 * median(times[c.name]), 1e3 * min(times[c.name]), 1e3 * max(times[c.name]), c.setup_seconds)
        for c in contenders
    ]


def timed(make: Callable[[], Contender]) -> Contender:
    """The contender, with the seconds that making it and its first three steps took."""
    began = time.perf_counter()
    contender = make()
    for t in range(3):
        contender.step(t)
    contender.finish()
    return Contender(contender.name, contender.step, contender.finish, time.perf_counter() - began)


def _turn(contender: Contender, steps: int) -> float:
    began = time.perf_counter()
    for t in range(steps):
        contender.step(t)
    contender.finish()
    return (time.perf_counter() - began) / steps


def synchronise() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
