"""Maximum mean discrepancy with a permutation test.

    MMD² = E k(x, x') + E k(s, s') - 2 E k(x, s)

by its unbiased estimate, which may be negative: Gretton et al., "A kernel two-sample test", JMLR 2012.
"""

import torch
from torch import Tensor

from pyrogen.protocols import Score
from pyrogen.random import generator


def gaussian_kernel(x: Tensor, bandwidths: Tensor) -> Tensor:
    """The mean over bandwidths h of ``exp(-|x_i - x_j|² / 2h²)``, ``(n, n)``."""
    square = torch.cdist(x, x).square()
    kernel = torch.zeros_like(square)
    for h in bandwidths.tolist():
        kernel += (-square / (2 * h**2)).exp() / len(bandwidths)
    return kernel


def mmd2_from_kernel(kernel: Tensor, sign: Tensor) -> Tensor:
    """The unbiased MMD² for each row of ``sign``.

    Args:
        kernel: ``(n + m, n + m)``.
        sign: ``(permutations, n + m)`` booleans, true for the rows that belong to the first sample.

    Returns:
        ``(permutations,)``.
    """
    off = kernel - torch.diag(kernel.diagonal())
    first = sign.to(kernel.dtype)
    second = 1 - first
    n, m = first.sum(1), second.sum(1)
    from_first = first @ off
    within_first = (from_first * first).sum(1) / (n * (n - 1))
    within_second = ((second @ off) * second).sum(1) / (m * (m - 1))
    return within_first + within_second - 2 * (from_first * second).sum(1) / (n * m)


def mmd2(samples: Tensor, real: Tensor, permutations: int = 500, seed: int = 0) -> Score:
    """The unbiased MMD² between samples and data, and the p-value of "same distribution".

    A Gaussian kernel averaged over half, once and twice the median distance of the data; the p-value is the
    share of permutations of the pooled rows with an MMD² at least as large (the observed one counted in).

    Args:
        samples, real: ``(n, *event)`` and ``(m, *event)``, at least two each.
        permutations: how many; the smallest p-value is 1 / (permutations + 1).
        seed: of the permutations.
    """
    pooled = torch.cat([samples.flatten(1), real.flatten(1)]).double()
    distances = torch.cdist(pooled[len(samples) :], pooled[len(samples) :])
    median = distances[~torch.eye(len(real), dtype=torch.bool, device=real.device)].median().clamp_min(1e-12)
    kernel = gaussian_kernel(pooled, median * torch.tensor([0.5, 1.0, 2.0], device=pooled.device))
    total = len(pooled)
    order = torch.rand(permutations, total, generator=generator(seed, "mmd")).argsort(1).to(pooled.device)
    belongs = torch.arange(total, device=pooled.device) < len(samples)
    values = mmd2_from_kernel(kernel, torch.cat([belongs[None], order < len(samples)]))
    observed, null = values[0], values[1:]
    p_value = float((1 + (null >= observed).sum()) / (permutations + 1))
    detail = {"p_value": p_value, "n": min(len(samples), len(real)), "bandwidth": float(median)}
    return Score(float(observed), float(null.std()), "estimate", "mmd2", detail)
