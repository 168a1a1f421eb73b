"""Standard errors and 95% intervals of scores, and the paired difference of two scores.

What an interval covers is the mean of the score over redraws of the samples and of the data, of as many rows each. A
bias at those numbers, as of the Fréchet distance, is part of that mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, inf, sqrt
from statistics import mean, variance

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.protocols import NORMAL_QUANTILE, Score
from pyrogen.random import generator

SPLITS = 30
"""How often both sets are split into halves."""


@dataclass(frozen=True)
class Halves:
    """Statistics of random halves of two sets.

    Args:
        mean: over halves, ``(q,)``.
        variance: of a statistic of two halves, ``(q,)``; unbiased, as the two pairs of a split are independent.
        contrasts: differences between the halves of the second set, averaged over those of the first, ``(splits, q)``.
    """

    mean: Tensor
    variance: Tensor
    contrasts: Tensor


def halves(statistics: Callable[[Tensor, Tensor], Tensor], n: int, m: int, seed: int = 0) -> Halves:
    """Compute statistics of random halves of both sets, whose spread is that of redraws.

    Leaving one row out, the jackknife, overstates the error of statistics of nearest neighbours about twofold.

    Args:
        statistics: ``statistics(i, j) -> (2, 2, q)``, of both halves of the first set with both of the second, given
            the indices of their rows, ``(2, n // 2)`` and ``(2, m // 2)``.
        n, m: the numbers of rows of the two sets.
        seed: of the halves; the halves of the second set depend on it and m alone, so that models are paired.
    """
    first, second = (generator(seed, "halves", name) for name in ("first", "second"))
    total, contrasts, squares = [], [], []
    for _ in range(SPLITS):
        i, j = (torch.randperm(size, generator=g)[: size // 2 * 2].view(2, -1) for size, g in ((n, first), (m, second)))
        (t00, t01), (t10, t11) = statistics(i, j)
        total += [t00, t01, t10, t11]
        squares += [(t00 - t11).square() / 2, (t01 - t10).square() / 2]
        contrasts.append((t00 + t10 - t01 - t11) / 2)
    return Halves(torch.stack(total).mean(0), torch.stack(squares).mean(0), torch.stack(contrasts))


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95% interval of a share of n independent rows, within [0, 1]. Wilson, JASA 1927."""
    z2 = NORMAL_QUANTILE**2 / n
    centre, half = share + z2 / 2, sqrt(z2 * (share * (1 - share) + z2 / 4))
    low, high = ((centre + sign * half) / (1 + z2) for sign in (-1, 1))
    return (0.0 if share == 0 else low), (1.0 if share == 1 else high)


def corrected_variance(first: float, second: float, floor: float) -> float:
    """The variance of a statistic of degree two from its jackknife.

    By Hoeffding's decomposition ``σ² = ζ₁ + ζ₂``, while the jackknife estimates ``ζ₁ + 2 ζ₂`` (Efron and Stein, "The
    jackknife estimate of variance", 1981). Where the two sets have one distribution, ζ₁ is 0, and the difference of two
    estimates would often be far below ζ₂: it is not let fall below a share of it.

    Args:
        first: the jackknife's estimate, or that of the influence functions.
        second: an estimate of ζ₂.
        floor: the least share of ζ₂, chosen by measured coverage (``docs/scripts/intervals.py``).
    """
    return max(first - second, floor * second)


BOUNDS = {"share": (0.0, 1.0), "accuracy": (0.0, 1.0), "fid": (0.0, inf), "density": (0.0, inf)}
"""The values that a score of a unit can have, which its interval does not leave."""


def seed_error(values: Sequence[float], shared: float = 0.0) -> tuple[float, float]:
    """The standard error of the mean over seeds, and its degrees of freedom.

    Let the score of seed s be ``θ + a_s + e_s``, with a_s of the training run and e_s of the test data, and let c be
    the covariance of the e of two seeds. The spread over seeds holds ``a`` and what is not common of ``e``, so

        Var(mean) = s² / S + c,    s² the variance over the S seeds.

    The degrees of freedom are Welch and Satterthwaite's, of S - 1 for the first term and many for the second.

    Args:
        values: one for each seed, at least two.
        shared: c, the variance due to the test data that is common to all seeds (see ``data_variance``).
    """
    spread, most = variance(values) / len(values), len(values) - 1
    return sqrt(spread + shared), most * ((spread + shared) / spread) ** 2 if spread else (inf if shared else most)


def over_seeds(values: Sequence[float], unit: str, shared: float = 0.0) -> tuple[float, float, tuple[float, float]]:
    """Mean, standard error of the mean and 95% interval of Student's t distribution, as seeds are few.

    Args:
        values: one for each seed, at least two.
        unit: of the values, which bounds their interval.
        shared: as for ``seed_error``.
    """
    from scipy.stats import t

    centre = mean(values)
    error, freedom = seed_error(values, shared)
    half = float(t.ppf(0.975, freedom)) * error
    low, high = BOUNDS.get(unit, (-inf, inf))
    return centre, error, (max(centre - half, low), min(centre + half, high))


def data_variance(score: Score) -> float:
    """The part of a score's variance that is due to the test data; all of it where the parts are not known."""
    return score.stderr**2 if score.values is None else _variance(score.values.double())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: those below .05 are wrong for any with a probability of at most .05.

    Args:
        p_values: of a family of tests.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min((len(p_values) - rank) * p_values[i], 1.0))
        adjusted[i] = least
    return adjusted


def paired_difference(a: Score, b: Score) -> Score:
    """The difference ``a - b`` of the scores of two models on the same test data.

    Its variance is that of both models' own samples, and of the difference of what the test data contribute to the two:
    much less than the sum of the two variances, where the models find the same rows hard.

    Args:
        a, b: the same score of two models, from ``evaluate`` of the same data with the same seed.

    Returns:
        The difference in the unit of the scores, with the two-sided ``p_value`` of no difference, and the difference
        of the ``values``.

    Raises:
        ConfigError: if the scores have different units, if only one is an estimate, or if they are of different numbers
            of test data.
    """
    if a.unit != b.unit or (a.kind != b.kind and "estimate" in (a.kind, b.kind)):
        raise ConfigError(f"expected two comparable scores, got {a.unit} ({a.kind}) and {b.unit} ({b.kind})")
    total, values = a.stderr**2 + b.stderr**2, None
    if a.values is not None and b.values is not None:
        if a.values.shape != b.values.shape:
            raise ConfigError(f"expected scores of the same test data, got {len(a.values)} and {len(b.values)} values")
        common = [each.double().cpu() for each in (a.values, b.values)]
        own = [max(s.stderr**2 - _variance(v), 0.0) for s, v in zip((a, b), common, strict=True)]
        values = common[0] - common[1]
        total = sum(own) + _variance(values)
    difference, error = a.value - b.value, sqrt(total)
    p_value = erfc(abs(difference) / error / sqrt(2)) if error else float(difference == 0)
    return Score(difference, error, "statistic", a.unit, {"p_value": p_value}, values=values)


def _variance(values: Tensor) -> float:
    """The variance of the mean of values."""
    return float(values.var() / len(values)) if len(values) > 1 else 0.0
