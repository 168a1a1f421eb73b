"""The cost of the importance-weighted bound: microseconds per draw of a datum, and its floor.

The pair is a Bernoulli VAE 784-400-50 and back. Its floor is the time of the decoder's matrix products alone.
"""

from collections.abc import Iterator

import torch
from torch import nn

from pyrogen.bench.timing import RowCost, costs_of_rows
from pyrogen.explicit.likelihoods import BernoulliLikelihood
from pyrogen.explicit.vae import VAE
from pyrogen.measure.likelihood import bounds

LATENT, HIDDEN, SHAPE = 50, 400, (1, 28, 28)
K, DATA, SHARE = 5000, 4, 0.2
"""Draws, data of a call, and the share of ones among the values."""
ROWS = 5000
"""Rows of a matrix product of the floor."""


@torch.no_grad()
def costs(device: torch.device, rounds: int, seconds: float) -> Iterator[RowCost]:
    """Measure the bound and the matrix products alone, in interleaved rounds."""
    torch.manual_seed(0)
    vae = VAE(SHAPE, LATENT, (HIDDEN,), BernoulliLikelihood()).to(device).eval()
    x = (torch.rand(DATA, *SHAPE, device=device) < SHARE).float()
    z = torch.randn(ROWS, LATENT, device=device)
    matrices = [layer.weight for layer in vae.decoder.modules() if isinstance(layer, nn.Linear)]

    def multiply() -> None:
        for _ in range(K * DATA // ROWS):
            h = z
            for matrix in matrices:
                h = h @ matrix.T

    calls = {"importance-weighted bound": lambda: bounds(vae, x, k=K), "matrix products alone": multiply}
    yield from costs_of_rows(calls, K * DATA, rounds, seconds)


def head(device: torch.device) -> str:
    """What the costs are of."""
    return f"iwae: µs per draw of a datum, k = {K:,}, {DATA} data"
