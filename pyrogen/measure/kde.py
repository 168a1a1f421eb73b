"""A kernel-density estimate of a model known only through its samples.

    log p̂(x) = log (1/m) Σ_j N(x; s_j, h² I),   s_j ~ the model

The value depends on the bandwidth h more than on the model once there are more than a few dimensions
(Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016): it can rank a
worse model first, and it is no bound. It is given because nothing else puts an implicit model on the axis of nats.
"""

from torch import Tensor

from pyrogen.measure.likelihood import mean_score
from pyrogen.nn.kernel_density import best_bandwidth, log_density
from pyrogen.protocols import Score

WARNING = "kernel-density estimate: misleads in many dimensions, compares with no bound and no exact value"


def kde_score(x: Tensor, samples: Tensor, valid: Tensor) -> Score:
    """The mean log p̂ over ``x``, with the bandwidth chosen on ``valid``; nats, an estimate."""
    bandwidth = best_bandwidth(valid, samples)
    values = log_density(x, samples, bandwidth)
    return mean_score(values, "estimate", bandwidth=bandwidth, samples=len(samples), note=WARNING)
