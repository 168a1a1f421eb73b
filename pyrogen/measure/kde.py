"""A kernel-density estimate of the log-likelihood of an implicit model.

    log p̂(x) = log (1/m) Σ_j N(x; s_j, h² I),   s_j ~ the model

In more than a few dimensions the value depends more on the bandwidth h than on the model (Theis, van den Oord and
Bethge, "A note on the evaluation of generative models", ICLR 2016): it can rank a worse model first, and is not a
bound. It is reported because there is no other estimate in nats for an implicit model.
"""

from functools import lru_cache
from math import log, pi

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.measure.likelihood import mean_score
from pyrogen.nn.kernel_density import best_bandwidth, log_density
from pyrogen.protocols import Score
from pyrogen.random import generator

NOTE = "kernel-density estimate: unreliable in many dimensions, not comparable with bounds or exact values"
GAUSSIAN_ROWS = 200
"""Draws of a normal distribution on which the error of the estimate is measured."""


def kde_score(x: Tensor, samples: Tensor, valid: Tensor) -> Score:
    """Estimate the mean of log p̂ over ``x`` in nats, with the bandwidth chosen on ``valid``."""
    check_sets("kde", 1, x=x, samples=samples, valid=valid)
    bandwidth = best_bandwidth(valid, samples)
    values = log_density(x, samples, bandwidth)
    error = error_on_normal(x[0].numel(), len(samples))
    note = f"{NOTE}; of a standard normal in {x[0].numel()} dimensions it is {error:+,.3g} nats off"
    return mean_score(values, "estimate", bandwidth=bandwidth, samples=len(samples), error_on_normal=error, note=note)


@lru_cache(maxsize=8)
def error_on_normal(d: int, samples: int, seed: int = 0) -> float:
    """The mean error in nats of such an estimate of N(0, I), of as many dimensions and samples, where p is known.

    Args:
        d: the number of dimensions.
        samples: of the estimate.
        seed: of all draws.
    """
    draw = generator(seed, "normal")
    points, valid, x = (torch.randn(n, d, generator=draw) for n in (samples, GAUSSIAN_ROWS, GAUSSIAN_ROWS))
    exact = -0.5 * (x.square().sum(1) + d * log(2 * pi))
    return float((log_density(x, points, best_bandwidth(valid, points)) - exact).mean())
