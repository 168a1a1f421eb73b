"""A kernel-density estimate of the log-likelihood of an implicit model.

    log p̂(x) = log (1/m) Σ_j N(x; s_j, h² I),   s_j ~ the model

In more than a few dimensions the value depends more on the bandwidth h than on the model (Theis, van den Oord and
Bethge, "A note on the evaluation of generative models", ICLR 2016): it can rank a worse model first, and is not a
bound. It is reported because there is no other estimate in nats for an implicit model.
"""

from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.measure.likelihood import mean_score
from pyrogen.nn.kernel_density import best_bandwidth, log_density
from pyrogen.protocols import Score

NOTE = "kernel-density estimate: unreliable in many dimensions, not comparable with bounds or exact values"


def kde_score(x: Tensor, samples: Tensor, valid: Tensor) -> Score:
    """Estimate the mean of log p̂ over ``x`` in nats, with the bandwidth chosen on ``valid``."""
    check_sets("kde", 1, x=x, samples=samples, valid=valid)
    bandwidth = best_bandwidth(valid, samples)
    values = log_density(x, samples, bandwidth)
    return mean_score(values, "estimate", bandwidth=bandwidth, samples=len(samples), note=NOTE)
