"""Weights that make the latent space evenly populated: data with rare codes count more.

    w(x) ∝ Π_i 1 / (Q̂_i(z_i(x)) + α),   z = μ(x)

Q̂_i is the histogram of coordinate i over the training data, relative to its maximum. Amini et al., "Uncovering and
mitigating algorithmic bias through learned latent structure", AIES 2019.
"""

from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.use.codes import encode

BINS = 10


def debiasing_weights(
    model: Any, x: Tensor, y: Tensor | None = None, *, alpha: float = 0.01, bins: int = BINS
) -> Tensor:
    """A weight for each datum, of mean 1, ``(n,)`` in float64.

    Args:
        model: a model with codes.
        x: training data in model coordinates, ``(n, *event)``.
        y: side information with ``n`` rows.
        alpha: α: the smaller, the stronger; without bound the weights are equal.
        bins: of each histogram.

    Raises:
        ConfigError: unless ``alpha > 0`` and ``bins >= 2``, or for a model without codes.
    """
    return code_weights(encode(model, x, y), alpha=alpha, bins=bins)


def code_weights(z: Tensor, *, alpha: float = 0.01, bins: int = BINS) -> Tensor:
    """The weights of ``debiasing_weights`` for codes ``(n, latent)``, with its other arguments and errors."""
    if not alpha > 0 or bins < 2:
        raise ConfigError(f"expected alpha > 0 and bins >= 2; got {alpha} and {bins}")
    z = z.flatten(1).double()
    log_weight = torch.zeros(len(z), dtype=torch.float64, device=z.device)
    for column in z.T:
        cell = _cells(column, bins)
        count = torch.bincount(cell, minlength=bins).double()
        log_weight -= (count / count.max() + alpha).log()[cell]
    return (log_weight - log_weight.logsumexp(0)).exp() * len(z)


def evenness(z: Tensor, weights: Tensor | None = None, bins: int = BINS) -> Tensor:
    """How even the histogram of each coordinate is: its entropy divided by log bins, in [0, 1], ``(latent,)``.

    Args:
        z: codes, ``(n, latent)``.
        weights: of the data, ``(n,)``; equal by default.
        bins: of each histogram.
    """
    z = z.flatten(1).double()
    weights = torch.ones(len(z), dtype=z.dtype, device=z.device) if weights is None else weights.to(z)
    found = []
    for column in z.T:
        share = torch.bincount(_cells(column, bins), weights, minlength=bins) / weights.sum()
        found.append(-torch.special.xlogy(share, share).sum())
    return torch.stack(found) / torch.tensor(float(bins)).log()


def _cells(column: Tensor, bins: int) -> Tensor:
    """The cell of each value in a histogram of equal cells from the least to the greatest value."""
    edges = torch.linspace(float(column.min()), float(column.max()), bins + 1, dtype=column.dtype, device=column.device)
    return torch.bucketize(column.contiguous(), edges[1:-1])
