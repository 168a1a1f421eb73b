"""The mass of values on a lattice, bounded by several dequantisations of each datum.

    log P(k) = log ∫ p(v) du ≥ E log (1/M) Σ_m p(k + step u_m) + log step,   u_m ~ U(0, 1)^D

The bound rises with M to the mass itself, as the importance-weighted bound of latent variables does: Burda et al., ICLR
2016; Hoogeboom, Cohen and Tomczak, "Learning discrete distributions by dequantization", 2020.
"""

from collections.abc import Callable
from math import log

import torch
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.random import generator

DRAWS = 16
"""M, the number of dequantisations of each datum."""


def mean_over_dequantisations(values: Callable[[Tensor], Tensor], x: Tensor, space: Space | None, seed: int) -> Tensor:
    """``log (1/M) Σ_m exp values(x_m)``, with x_1 = x and other draws of the noise; ``values(x)`` without a lattice.

    Args:
        values: log-densities of data in model coordinates, ``(n, D) -> (n,)``.
        x: the data in model coordinates.
        space: their space.
        seed: of the draws.
    """
    if space is None or not space.is_lattice:
        return values(x)
    cells = space.to_user(x)
    noise = generator(seed, "dequantisation", device=x.device)
    each = [values(x)]
    for _ in range(DRAWS - 1):
        u = torch.rand(x.shape, generator=noise, device=x.device, dtype=torch.float64)
        each.append(values(space.from_columns(cells, u).to(x.dtype)))
    return torch.stack(each).logsumexp(0) - log(DRAWS)
