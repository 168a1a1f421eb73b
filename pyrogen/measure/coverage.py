"""Mode coverage of densities with known modes.

Srivastava et al., "VEEGAN", NeurIPS 2017; Lin et al., "PacGAN", NeurIPS 2018. The detail ``floor`` of each score is the
expected score of as many draws from the true density (the sampling floor).
"""

from collections.abc import Callable
from math import exp

import torch
from torch import Tensor

from pyrogen.protocols import Score

DEVIATIONS = 3.0
"""The largest distance of a high-quality sample from its nearest mode, in standard deviations."""


def mode_scores(samples: Tensor, modes: Tensor, std: float) -> dict[str, Score]:
    """Score modes found, the share of high-quality samples, and the reverse KL divergence of mode frequencies.

    A sample is of high quality if it lies within 3σ of its nearest mode. A mode is found if it is the nearest mode of
    a high-quality sample. The floor of the share is ``1 - e^(-9/2)`` in the plane, 98.89%: a model clearly above it
    has modes that are too narrow.

    Args:
        samples: ``(n, d)``.
        modes: the centres, ``(k, d)``, of equal weight.
        std: σ of each mode.
    """
    n = len(samples)
    distance, nearest = torch.cdist(samples, modes.to(samples)).min(1)
    good = distance <= DEVIATIONS * std
    quality = float(good.float().mean())
    error = (quality * (1 - quality) / n) ** 0.5
    inside = float(torch.special.gammainc(torch.tensor(modes.shape[1] / 2), torch.tensor(DEVIATIONS**2 / 2)))
    detail = {"n": n, "floor": inside}
    return mode_count_scores(nearest, len(modes), nearest[good]) | {
        "high_quality": Score(quality, error, "statistic", "share", detail)
    }


def mode_count_scores(mode: Tensor, k: int, good: Tensor | None = None) -> dict[str, Score]:
    """Score modes found and reverse KL, given the mode of each sample, of ``k`` equally likely ones.

    The divergence is ``KL(q̂ || uniform)`` in nats, with q̂ the frequencies of the modes among all samples. Its floor
    is the sampling floor, ``≈ (k - 1) / 2n`` for ``n ≫ k``.

    Args:
        mode: the mode of each sample, ``long (n,)``.
        k: the number of modes.
        good: the modes of high-quality samples, which count as found; all samples by default.
    """
    n = len(mode)
    found = int(torch.bincount(mode if good is None else good, minlength=k).count_nonzero())
    share = torch.bincount(mode, minlength=k).double() / n
    divergence = float(torch.special.xlogy(share, share * k).sum())
    return {
        "modes": Score(found, 0.0, "statistic", "modes", {"of": k, "n": n, "floor": k * (1 - exp(-n / k))}),
        "reverse_kl": Score(divergence, 0.0, "estimate", "nats", {"n": n, "floor": sampling_floor(n, k)}),
    }


def stacked_modes(images: Tensor, classifier: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Classify stacked MNIST images into their 1,000 modes: the three digits as one number, ``(n,)``.

    Args:
        images: ``(n, 3, 28, 28)`` in [0, 1].
        classifier: ``classifier(digits) -> (features, log p(y | x))`` for ``(n, 1, 28, 28)``, as ``get_classifier``
            returns it.
    """
    _, log_prob = classifier(images.flatten(0, 1)[:, None])
    return (log_prob.argmax(1).view(-1, 3) * torch.tensor([100, 10, 1], device=log_prob.device)).sum(1)


def sampling_floor(n: int, k: int) -> float:
    """The expectation of ``KL(q̂ || uniform)`` for n uniform draws from k modes, in nats.

    ``Σ_c Binomial(c; n, 1/k) (c k / n) log(c k / n)``, summed over all counts c of one mode.
    """
    c = torch.arange(1, n + 1, dtype=torch.float64)
    log_choose = (
        torch.lgamma(torch.tensor(n + 1.0, dtype=torch.float64)) - torch.lgamma(c + 1) - torch.lgamma(n - c + 1)
    )
    p = torch.tensor(1 / k, dtype=torch.float64)
    log_mass = log_choose + torch.special.xlogy(c, p) + torch.special.xlog1py(n - c, -p)
    ratio = c * k / n
    return float((log_mass.exp() * ratio * ratio.log()).sum())
