"""Maximum mean discrepancy with a permutation test.

Gretton et al., "A kernel two-sample test", JMLR 2012; the estimate itself is ``pyrogen.nn.mmd``'s.
"""

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.measure.intervals import corrected_variance
from pyrogen.nn.mmd import gaussian_kernel, mmd2_interaction_variance, mmd2_pseudo_values, unbiased_mmd2
from pyrogen.protocols import Score
from pyrogen.random import generator


def mmd2(samples: Tensor, real: Tensor, permutations: int = 500, seed: int = 0) -> Score:
    """The unbiased MMD² between samples and data, and the p-value of "same distribution".

    A Gaussian kernel averaged over half, once and twice the median distance of the data; the p-value is the
    share of permutations of the pooled rows with an MMD² at least as large (the observed one counted in). The standard
    error is that of the jackknife, corrected for pairs of rows (``corrected_variance``), which holds for different
    distributions too, where the spread under permutations is several times too small.

    Args:
        samples, real: ``(n, *event)`` and ``(m, *event)``, at least three each.
        permutations: how many; the smallest p-value is 1 / (permutations + 1).
        seed: of the permutations.

    Raises:
        DataError: for fewer than three rows, different shapes, or values that are not finite.
    """
    check_sets("mmd2", 3, samples=samples, real=real)
    pooled = torch.cat([samples.flatten(1), real.flatten(1)]).double()
    distances = torch.cdist(pooled[len(samples) :], pooled[len(samples) :])
    median = distances[~torch.eye(len(real), dtype=torch.bool, device=real.device)].median().clamp_min(1e-12)
    kernel = gaussian_kernel(pooled, [c * float(median) for c in (0.5, 1.0, 2.0)])
    total = len(pooled)
    order = torch.rand(permutations, total, generator=generator(seed, "mmd")).argsort(1).to(pooled.device)
    belongs = torch.arange(total, device=pooled.device) < len(samples)
    values = unbiased_mmd2(kernel, torch.cat([belongs[None], order < len(samples)]))
    observed, null = values[0], values[1:]
    p_value = float((1 + (null >= observed).sum()) / (permutations + 1))
    detail = {"p_value": p_value, "n": min(len(samples), len(real)), "bandwidth": float(median)}
    error, contributions = mmd2_error(kernel, len(samples))
    return Score(float(observed), error, "estimate", "mmd2", detail, values=contributions)


def mmd2_error(kernel: Tensor, n: int) -> tuple[float, Tensor]:
    """The standard error of ``unbiased_mmd2``, and what the rows of the second sample contribute, ``(m,)``.

    Args:
        kernel: of the rows of both samples together, ``(n + m, n + m)``.
        n: the number of rows of the first sample, at least three, as of the second.
    """
    values = mmd2_pseudo_values(kernel, n)
    jackknife = sum(float(v.var() / len(v)) for v in values)
    variance = corrected_variance(jackknife, float(mmd2_interaction_variance(kernel, n)), floor=0.5)
    return variance**0.5, values[1]
