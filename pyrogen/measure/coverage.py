"""Mode coverage where the modes are known.

Srivastava et al., "VEEGAN", NeurIPS 2017; Lin et al., "PacGAN", NeurIPS 2018.
"""

import torch
from torch import Tensor

from pyrogen.protocols import Score


def mode_scores(samples: Tensor, modes: Tensor, std: float) -> dict[str, Score]:
    """Modes found, share of high-quality samples, and reverse KL of the share of each mode.

    A sample is of high quality if it lies within 3σ of its nearest mode, and a mode is found if a
    high-quality sample is nearest to it. The divergence is ``KL(q̂ || uniform)`` in nats, with q̂ the shares of all
    samples by nearest mode.

    Args:
        samples: ``(n, d)``.
        modes: the centres, ``(k, d)``, of equal weight.
        std: σ of each mode.
    """
    n, k = len(samples), len(modes)
    distance, nearest = torch.cdist(samples, modes.to(samples)).min(1)
    good = distance <= 3 * std
    found = int(torch.bincount(nearest[good], minlength=k).count_nonzero())
    quality = float(good.float().mean())
    share = torch.bincount(nearest, minlength=k).double() / n
    divergence = float(torch.special.xlogy(share, share * k).sum())
    error = (quality * (1 - quality) / n) ** 0.5
    return {
        "modes": Score(found, 0.0, "statistic", "modes", {"of": k, "n": n}),
        "high_quality": Score(quality, error, "statistic", "share", {"n": n}),
        "reverse_kl": Score(divergence, 0.0, "estimate", "nats", {"n": n}),
    }
