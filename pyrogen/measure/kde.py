"""A kernel-density estimate of a model known only through its samples.

    log p̂(x) = log (1/m) Σ_j N(x; s_j, h² I),   s_j ~ the model

The value depends on the bandwidth h more than on the model once there are more than a few dimensions
(Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016): it can rank a
worse model first, and it is no bound. It is given because nothing else puts an implicit model on the axis of nats.
"""

from math import log, pi

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
    parts = [
        (-0.5 * torch.cdist(part, centres).square() / bandwidth**2).logsumexp(1) - constant for part in flat.split(rows)
    ]
    return torch.cat(parts)


def best_bandwidth(valid: Tensor, samples: Tensor, grid: int = 16) -> float:
    """The bandwidth with the highest mean log-density of ``valid``, on a logarithmic grid.

    The grid reaches from a twentieth of the median distance between data and nearest sample to ten times it.
    """
    flat, centres = valid.flatten(1), samples.flatten(1)
    nearest = torch.cat([torch.cdist(part, centres).min(1).values for part in flat.split(1000)])
    unit = float(nearest.median().clamp_min(1e-6)) / flat.shape[1] ** 0.5
    candidates = (unit * torch.logspace(-1.3, 1.0, grid)).tolist()
    return max(candidates, key=lambda h: float(log_density(valid, samples, h).mean()))


def kde_score(x: Tensor, samples: Tensor, valid: Tensor) -> Score:
    """The mean log p̂ over ``x``, with the bandwidth chosen on ``valid``; nats, an estimate."""
    bandwidth = best_bandwidth(valid, samples)
    values = log_density(x, samples, bandwidth)
    return mean_score(values, "estimate", bandwidth=bandwidth, samples=len(samples), note=WARNING)
