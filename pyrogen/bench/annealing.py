"""The cost of annealed importance sampling: microseconds per leapfrog step and chain, and its floor.

The decoder is the one of Wu et al. (ICLR 2017) with 10 latent variables, 10-64-256-256-1024-784. Its floor is the time
of its matrix products alone: forward, and backward to the latent variables.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor, nn

from pyrogen.bench.timing import synchronise
from pyrogen.measure.annealing.path import Rows
from pyrogen.measure.annealing.plan import LEAPFROG
from pyrogen.pyro_tools.decoders import as_decoder
from pyrogen.pyro_tools.hmc import Point, transition

WIDTHS = (10, 64, 256, 256, 1024, 784)
CHAINS = {"cpu": 1024, "cuda": 32_768}
"""The chains of a call by type of device."""
SIGMA = 0.16


class Decoder(nn.Module):
    """The generator of the table, with random weights."""

    latent = WIDTHS[0]

    def __init__(self) -> None:
        super().__init__()
        layers = [layer for a, b in pairwise(WIDTHS) for layer in (nn.Linear(a, b), nn.Tanh())]
        self.layers = nn.Sequential(*layers[:-1], nn.Sigmoid())

    def generator(self, z: Tensor) -> Tensor:
        """E[x | z], ``(n, 784)``."""
        x: Tensor = self.layers(z)
        return x


@dataclass(frozen=True)
class Cost:
    """Microseconds per leapfrog step and chain: the median over rounds, and the fastest and slowest round."""

    name: str
    microseconds: float
    fastest: float
    slowest: float


@torch.no_grad()
def costs(device: torch.device, rounds: int, seconds: float) -> Iterator[Cost]:
    """Measure transitions and the matrix products alone, in interleaved rounds."""
    torch.manual_seed(0)
    model, chains = Decoder().to(device).requires_grad_(False), CHAINS[device.type]
    x = torch.rand(chains // 4, WIDTHS[-1], device=device)
    rows = Rows.of(as_decoder(model, x), x, chains=4, noise=SIGMA)
    point = Point.at(rows.draw(), rows.terms)
    weights, size = point.values.new_tensor([[1.0], [0.1]]), torch.full((chains,), 0.01, device=device)
    factor = torch.eye(WIDTHS[0], device=device).expand(len(x), -1, -1).contiguous()
    matrices = [layer.weight for layer in model.layers if isinstance(layer, nn.Linear)]

    def move() -> None:
        transition(rows.terms, point, weights, size, LEAPFROG, factor)

    def multiply() -> None:
        for _ in range(LEAPFROG):
            h = point.u
            for matrix in matrices:
                h = h @ matrix.T
            for matrix in reversed(matrices):
                h = h @ matrix

    times: dict[str, list[float]] = {"transition": [], "matrix products alone": []}
    for _ in range(rounds):
        for name, call in zip(times, (move, multiply), strict=True):
            times[name].append(1e6 * _seconds(call, seconds) / (LEAPFROG * chains))
    for name, each in times.items():
        yield Cost(name, median(each), min(each), max(each))


def _seconds(call: Callable[[], object], seconds: float) -> float:
    call()
    synchronise()
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        call()
        n += 1
        synchronise()
    return (time.perf_counter() - began) / n


def table(chains: int, found: Sequence[Cost]) -> str:
    """The costs as a Markdown table."""
    head = f"ais: µs per leapfrog step and chain, {chains:,} chains at a time"
    rule = "\n| | median | fastest | slowest |\n|---|---|---|---|"
    rows = [f"| {c.name} | {c.microseconds:.2f} | {c.fastest:.2f} | {c.slowest:.2f} |" for c in found]
    return "\n".join([head, rule, *rows, ""])
