"""Weights that make the latent space evenly populated: data with rare codes count more.

    w(x) ∝ clip(m / p̂(z(x)), 1, 1/α),    p̂(z) ∝ r_k(z)^-D,    1/D = mean over data and j < k of log(r_k / r_j)

z = μ(x) is the code, r_j its distance to the j-th nearest of the other codes, m the median of p̂ over the data, and D
the dimension of the set near which codes lie, by maximum likelihood (Levina and Bickel, NeurIPS 2004). p̂ is the density
by k nearest neighbours (Loftsgaarden and Quesenberry, 1965). Amini et al., "Uncovering and mitigating algorithmic bias
through learned latent structure", AIES 2019, weight by a product of histograms, one of each coordinate, which does not
see data that are usual in each coordinate and rare as a whole.
"""

from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.measure.verdict.neighbours import nearest
from pyrogen.random import generator
from pyrogen.use.codes import encode

ALPHA, BINS, NEIGHBOURS = 0.02, 10, 20
MOST_CODES = 10_000
"""The most codes, a random sample, among which neighbours are sought: the time is linear in the number of data."""


def debiasing_weights(model: Any, x: Tensor, y: Tensor | None = None, *, alpha: float = ALPHA) -> Tensor:
    """A weight for each datum, of mean 1, ``(n,)`` in float64.

    Args:
        model: a model with codes.
        x: training data in model coordinates, ``(n, *event)``.
        y: side information with ``n`` rows.
        alpha: α: no weight is more than 1/α times that of data of the median density; 1 for equal weights.

    Raises:
        ConfigError: unless ``0 < alpha <= 1``, for fewer than three data, or for a model without codes.
    """
    return code_weights(encode(model, x, y), alpha=alpha)


def code_weights(z: Tensor, *, alpha: float = ALPHA) -> Tensor:
    """The weights of ``debiasing_weights`` for codes ``(n, latent)``, with its other arguments and errors."""
    if not 0 < alpha <= 1 or len(z) < 3:
        raise ConfigError(f"expected 0 < alpha <= 1 and at least three codes; got alpha={alpha} and {len(z)} codes")
    near = _distances(z.flatten(1).double())
    last = near[:, -1:]
    ratios = (last / near[:, :-1])[near[:, :-1] > 0].log()  # of distinct codes
    dimension = min(z[0].numel(), len(ratios) / max(float(ratios.sum()), 1e-12))
    log_radius = last[:, 0].clamp_min(torch.finfo(last.dtype).tiny).log()
    weight = (dimension * (log_radius - log_radius.median())).exp().clamp(1, 1 / alpha)
    return weight / weight.mean()


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


def _distances(z: Tensor) -> Tensor:
    """The distances of each code to its nearest others, nearest first, ``(n, k)``."""
    chosen = torch.randperm(len(z), generator=generator(0, "debiasing"))[:MOST_CODES].to(z.device)
    found, _ = nearest(z, z[chosen], min(NEIGHBOURS + 1, len(chosen)))
    own = torch.zeros(len(z), 1, dtype=torch.bool, device=z.device)
    own[chosen] = True
    return torch.where(own, found[:, 1:], found[:, :-1])
