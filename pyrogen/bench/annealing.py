"""The cost of annealed importance sampling: microseconds per leapfrog step and chain, and its floor.

The decoder is the one of Wu et al. (ICLR 2017) with 10 latent variables, 10-64-256-256-1024-784. Its floor is the time
of its matrix products alone: forward, and backward to the latent variables.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyrogen.bench.timing import RowCost, costs_of_rows
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


@torch.no_grad()
def costs(device: torch.device, rounds: int, seconds: float) -> Iterator[RowCost]:
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

    calls = {"transition": move, "matrix products alone": multiply}
    yield from costs_of_rows(calls, LEAPFROG * chains, rounds, seconds)


def head(device: torch.device) -> str:
    """What the costs are of."""
    return f"ais: µs per leapfrog step and chain, {CHAINS[device.type]:,} chains at a time"
