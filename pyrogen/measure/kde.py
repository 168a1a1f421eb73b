"""A kernel-density estimate of a model known only through its samples.

    log p̂(x) = log (1/m) Σ_j N(x; s_j, h² I),   s_j ~ the model

The value depends on the bandwidth h more than on the model once there are more than a few dimensions
(Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016): it can rank a
worse model first, and it is no bound. It is given because nothing else puts an implicit model on the axis of nats.
"""

from math import exp, log, pi

import torch
from torch import Tensor

from pyrogen.measure.likelihood import mean_score
from pyrogen.protocols import Score

WARNING = "kernel-density estimate: misleads in many dimensions, compares with no bound and no exact value"


def log_density(x: Tensor, samples: Tensor, bandwidth: float, rows: int = 1000) -> Tensor:
    """Log p̂(x) in nats, ``(n,)``.

    Args:
        x: where to evaluate, ``(n, *event)``.
        samples: the centres, ``(m, *event)``.
        bandwidth: h, in the unit of x.
        rows: how many of x at once.
    """
    flat, centres = x.flatten(1), samples.flatten(1)
    dims = flat.shape[1]
    constant = log(len(centres)) + 0.5 * dims * log(2 * pi * bandwidth**2)
    parts = [(_squares(part, centres) / (-2 * bandwidth**2)).logsumexp(1) - constant for part in flat.split(rows)]
    return torch.cat(parts)


def best_bandwidth(valid: Tensor, samples: Tensor, rows: int = 2000) -> float:
    """The bandwidth with the highest mean log-density of ``valid``: a logarithmic grid, then golden-section search.

    Args:
        valid: the data to choose on; the first ``rows`` of them are used.
        samples: the centres.
        rows: how many data are enough to choose by.
    """
    square = _squares(valid[:rows].flatten(1), samples.flatten(1))
    dims = valid[0].numel()

    def score(log_h: float) -> float:
        h = exp(log_h)
        return float((square / (-2 * h**2)).logsumexp(1).mean()) - dims * log_h

    smallest = 0.5 * log(max(float(square.min(1).values.median()), 1e-12) / dims) - 3
    largest = 0.5 * log(max(float(square.median()), 1e-12) / dims) + 1
    grid = torch.linspace(smallest, largest, 24).tolist()
    best = max(range(len(grid)), key=lambda i: score(grid[i]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    golden = (5**0.5 - 1) / 2
    for _ in range(12):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if score(left) > score(right) else (left, high)
    return exp((low + high) / 2)


def _squares(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances, ``(n, m)``; in float64, where the fast matrix form loses nothing that matters."""
    return torch.cdist(x.double(), centres.double()).square().to(x.dtype)


def kde_score(x: Tensor, samples: Tensor, valid: Tensor) -> Score:
    """The mean log p̂ over ``x``, with the bandwidth chosen on ``valid``; nats, an estimate."""
    bandwidth = best_bandwidth(valid, samples)
    values = log_density(x, samples, bandwidth)
    return mean_score(values, "estimate", bandwidth=bandwidth, samples=len(samples), note=WARNING)
