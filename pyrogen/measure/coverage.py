"""Mode coverage where the modes are known.

Srivastava et al., "VEEGAN", NeurIPS 2017; Lin et al., "PacGAN", NeurIPS 2018. Beside each score stands its ``floor``:
what as many draws from the true density would score on average.
"""

from collections.abc import Callable
from math import exp

import torch
from torch import Tensor

from pyrogen.protocols import Score

DEVIATIONS = 3.0
"""How many standard deviations from its nearest mode a sample of high quality may lie."""


def mode_scores(samples: Tensor, modes: Tensor, std: float) -> dict[str, Score]:
    """Modes found, share of high-quality samples, and reverse KL of the share of each mode.

    A sample is of high quality if it lies within 3σ of its nearest mode, and a mode is found if a high-quality sample
    is nearest to it. The floor of the share is ``1 - e^(-9/2)`` in the plane, 98.89%: a model clearly above it has
    shrunk the modes.

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
    return count_scores(nearest, len(modes), nearest[good]) | {
        "high_quality": Score(quality, error, "statistic", "share", detail)
    }


def count_scores(mode: Tensor, k: int, good: Tensor | None = None) -> dict[str, Score]:
    """Modes found and reverse KL, given which of ``k`` equally likely modes each sample belongs to.

    The divergence is ``KL(q̂ || uniform)`` in nats, with q̂ the shares of all samples by mode. Its floor is the
    sampling floor, ``≈ (k - 1) / 2n`` where every mode is met often.

    Args:
        mode: ``long (n,)``.
        k: how many modes there are.
        good: the modes of the samples that may find one; all by default.
    """
    n = len(mode)
    found = int(torch.bincount(mode if good is None else good, minlength=k).count_nonzero())
    share = torch.bincount(mode, minlength=k).double() / n
    divergence = float(torch.special.xlogy(share, share * k).sum())
    return {
        "modes": Score(found, 0.0, "statistic", "modes", {"of": k, "n": n, "floor": k * (1 - exp(-n / k))}),
        "reverse_kl": Score(divergence, 0.0, "estimate", "nats", {"n": n, "floor": sampling_floor(n, k)}),
    }


def stacked_modes(images: Tensor, judge: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Which of the 1,000 modes of ``stacked-mnist`` each picture shows: its three digits as one number, ``(n,)``.

    Args:
        images: ``(n, 3, 28, 28)`` in [0, 1].
        judge: ``judge(digits) -> (features, log p(y | x))`` of ``(n, 1, 28, 28)``, as ``features.classifier`` gives.
    """
    _, log_prob = judge(images.flatten(0, 1)[:, None])
    return (log_prob.argmax(1).view(-1, 3) * torch.tensor([100, 10, 1], device=log_prob.device)).sum(1)


def sampling_floor(n: int, k: int) -> float:
    """The mean of ``KL(q̂ || uniform)`` over n even draws among k modes, in nats.

    ``Σ_c Binomial(c; n, 1/k) (c k / n) log(c k / n)``, the sum over all counts c of one mode.
    """
    c = torch.arange(1, n + 1, dtype=torch.float64)
    log_choose = (
        torch.lgamma(torch.tensor(n + 1.0, dtype=torch.float64)) - torch.lgamma(c + 1) - torch.lgamma(n - c + 1)
    )
    p = torch.tensor(1 / k, dtype=torch.float64)
    log_mass = log_choose + torch.special.xlogy(c, p) + torch.special.xlog1py(n - c, -p)
    ratio = c * k / n
    return float((log_mass.exp() * ratio * ratio.log()).sum())
