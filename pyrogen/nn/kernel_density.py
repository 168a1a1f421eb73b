"""Gaussian kernel-density estimates, used by a model and by a measure.

log p̂(x) = log (1/m) Σ_j N(x; s_j, h² I)
"""

from math import exp, log, pi

import torch
from torch import Tensor


def log_density(x: Tensor, samples: Tensor, bandwidth: float | Tensor, rows: int = 1000) -> Tensor:
    """Return log p̂(x) in nats, ``(n,)``.

    Args:
        x: where to evaluate, ``(n, *event)``.
        samples: the points s, ``(m, *event)``.
        bandwidth: h, in the unit of x.
        rows: rows of x per chunk.
    """
    flat, points = x.flatten(1), samples.flatten(1)
    h = torch.as_tensor(bandwidth, dtype=x.dtype, device=x.device)
    constant = log(len(points)) + flat.shape[1] * (0.5 * log(2 * pi) + h.log())
    parts = [(_squared_distances(part, points) / (-2 * h**2)).logsumexp(1) - constant for part in flat.split(rows)]
    return torch.cat(parts)


def best_bandwidth(valid: Tensor, samples: Tensor, rows: int = 2000) -> float:
    """Find the bandwidth with the highest mean log-density of ``valid``, by a grid and golden-section search.

    Args:
        valid: validation data, of which the first ``rows`` are used.
        samples: the points.
        rows: the most validation data to use.
    """
    square = _squared_distances(valid[:rows].flatten(1), samples.flatten(1))
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


def _squared_distances(x: Tensor, points: Tensor) -> Tensor:
    """Squared distances, ``(n, m)``, computed in float64, where the matrix form of ``cdist`` is accurate enough."""
    return torch.cdist(x.double(), points.double()).square().to(x.dtype)
