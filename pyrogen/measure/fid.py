"""The Fréchet distance between features of samples and data, and related scores.

Features come from a classifier of the same data (``pyrogen.measure.features``) in place of the Inception network, so
values are comparable only for the same classifier, and should be read beside the score of real data.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.measure.intervals import Halves, corrected_variance, halves, wilson
from pyrogen.measure.mmd import mmd2_error
from pyrogen.nn.mmd import polynomial_kernel, unbiased_mmd2
from pyrogen.protocols import NORMAL_QUANTILE, Score

INTERACTING = 100
"""The most rows whose pairs give the interaction of the Fréchet distance."""
KID_BLOCK = 1000
"""The most rows of a block of KID."""
SHARE_OF_HALVES = 0.6
"""The variance of a density, in that of halves; above ½, as balls of all rows overlap more than those of half of them.

By measured coverage (``docs/scripts/intervals.py``).
"""


def frechet_distance(mean_p: Tensor, cov_p: Tensor, mean_q: Tensor, cov_q: Tensor) -> float:
    """``|m_p - m_q|² + tr(C_p + C_q - 2 (C_p C_q)^½)``: the squared Wasserstein-2 distance of two Gaussians.

    Args:
        mean_p, mean_q: ``(d,)``.
        cov_p, cov_q: ``(d, d)``, symmetric and positive semi-definite.
    """
    root = _root(cov_p)
    # C_p C_q has the eigenvalues of the symmetric C_p^½ C_q C_p^½.
    eigenvalues = torch.linalg.eigvalsh(root @ cov_q @ root).clamp_min(0)
    trace = cov_p.trace() + cov_q.trace() - 2 * eigenvalues.sqrt().sum()
    return max(float((mean_p - mean_q).square().sum() + trace), 0.0)  # rounding can make it negative


def fid(samples: Tensor, real: Tensor) -> Score:
    """The Fréchet distance of two Gaussians fitted to features; lower is better.

    Biased upwards by about ``1/n``: compare at one n. Heusel et al., "GANs trained by a two time-scale update rule
    converge to a local Nash equilibrium", NeurIPS 2017. The standard error is that of the influence functions (see
    ``frechet_potential``), corrected for pairs of rows; the interval covers the mean of the score at these n, its bias
    included.

    Args:
        samples, real: features, ``(n, d)`` and ``(m, d)``, at least two rows each.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("fid", 2, samples=samples, real=real)
    centre = real.double().mean(0)
    p, q = samples.double() - centre, real.double() - centre
    (mean_p, cov_p), (mean_q, cov_q) = ((f.mean(0), torch.atleast_2d(f.T.cov())) for f in (p, q))
    value = frechet_distance(mean_p, cov_p, mean_q, cov_q)
    first, pairs_p = frechet_potential(p - mean_p, cov_p, cov_q, mean_p - mean_q)
    second, pairs_q = frechet_potential(q - mean_q, cov_q, cov_p, mean_q - mean_p)
    n, m = len(p), len(q)
    jackknife = float(first.var() / n + second.var() / m)
    interaction = pairs_p / (2 * n**2) + pairs_q / (2 * m**2) + (pairs_p * pairs_q) ** 0.5 / (n * m)
    error = corrected_variance(jackknife, interaction, floor=0.65) ** 0.5
    limits = (max(value - NORMAL_QUANTILE * error, 0.0), value + NORMAL_QUANTILE * error)
    return Score(value, error, "statistic", "fid", {"n": n, "reference": m}, limits, second)


def frechet_potential(u: Tensor, cov_p: Tensor, cov_q: Tensor, shift: Tensor) -> tuple[Tensor, float]:
    """The influence of each row of p on the Fréchet distance to q, and the mean square of that of pairs of rows.

        φ(u) = uᵀ (I - A) u + 2 (m_p - m_q)ᵀ u,   A = C_p^-½ (C_p^½ C_q C_p^½)^½ C_p^-½

    the Kantorovich potential of the optimal transport between the two Gaussians. With w the rows in the eigenbasis of
    ``B = (C_p^½ C_q C_p^½)^½`` after whitening, β its eigenvalues and ``g_ab = β_a β_b / (β_a + β_b)``, the second
    derivative in the direction of two rows is ``2 uᵀv + Σ_ab g_ab (w_a w_b - δ_ab)(w'_a w'_b - δ_ab)``.

    Args:
        u: rows of p less their mean, ``(n, d)``.
        cov_p, cov_q: ``(d, d)``.
        shift: m_p - m_q.
    """
    variance, axes = torch.linalg.eigh(cov_p)
    kept = variance > 1e-10 * variance[-1].clamp_min(1e-300)
    variance, axes = variance[kept], axes[:, kept]
    half = axes * variance.sqrt()
    eigenvalues, turn = torch.linalg.eigh(half.T @ cov_q @ half)
    beta = eigenvalues.clamp_min(0).sqrt()
    w = u @ (axes / variance.sqrt()) @ turn
    influence = u.square().sum(1) - w.square() @ beta + 2 * u @ shift
    u, w = u[:INTERACTING], w[:INTERACTING]
    g = beta[:, None] * beta / (beta[:, None] + beta).clamp_min(1e-300)
    square = torch.stack([((row * w) @ g * (row * w)).sum(1) for row in w])
    alone = w.square() @ g.diagonal()
    pairs = square - alone[:, None] - alone + g.trace() + 2 * u @ u.T
    return influence, float(pairs[~torch.eye(len(u), dtype=torch.bool, device=u.device)].square().mean())


def kid(samples: Tensor, real: Tensor) -> Score:
    """The unbiased MMD² of features under the kernel ``(fᵀg / d + 1)³``; lower is better, about 0 for real data.

    Of more than 1,000 rows it is the mean over blocks of at most 1,000, as published; of fewer, that of all rows.
    Bińkowski et al., "Demystifying MMD GANs", ICLR 2018. The standard error is that of ``mmd2``.

    Args:
        samples, real: features, ``(n, d)`` and ``(m, d)``, at least three rows each, in random order.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("kid", 3, samples=samples, real=real)
    blocks = max(min(-(-max(len(samples), len(real)) // KID_BLOCK), min(len(samples), len(real)) // 20), 1)
    values, variance, contributions = [], 0.0, []
    pairs = zip(samples.double().tensor_split(blocks), real.double().tensor_split(blocks), strict=True)
    for p, q in pairs:
        kernel = polynomial_kernel(torch.cat([p, q]))
        error, of_real = mmd2_error(kernel, len(p))
        values.append(float(unbiased_mmd2(kernel, len(p))))
        variance += (error / blocks) ** 2
        contributions.append(of_real)
    detail = {"n": len(samples)}
    return Score(sum(values) / blocks, variance**0.5, "estimate", "mmd2", detail, values=torch.cat(contributions))


def inception_score(log_prob: Tensor) -> Score:
    """``exp E[KL(p(y | x) || p(y))]`` of a classifier's ``log p(y | x)``, from 1 to the number of classes.

    Salimans et al., "Improved techniques for training GANs", NeurIPS 2016.

    Args:
        log_prob: ``(n, classes)``, nats; at least two rows.

    Raises:
        DataError: for too few rows, or values that are not finite.
    """
    check_sets("inception_score", 2, log_prob=log_prob)
    log_prob = log_prob.double()
    marginal = log_prob.logsumexp(0) - torch.tensor(float(len(log_prob))).log()
    divergence = (log_prob.exp() * (log_prob - marginal)).sum(1)
    value = divergence.mean().exp()
    error = value * divergence.std() / len(log_prob) ** 0.5
    return Score(float(value), float(error), "statistic", "classes", {"n": len(log_prob)})


def precision_recall(samples: Tensor, real: Tensor, k: int = 3, *, errors: bool = True) -> dict[str, Score]:
    """The share of samples inside the data manifold (precision) and of data inside the sample manifold (recall).

    A manifold is estimated by balls around all points, with the distance to the k-th nearest neighbour as radius.
    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019.

    Args:
        samples, real: features, ``(n, d)`` and ``(m, d)``, more than k rows each.
        k: the neighbour that determines the radius.
        errors: whether the scores get intervals, from halves of the rows, which take most of the time.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("precision and recall", k + 1, samples=samples, real=real)
    among_samples, among_real = torch.cdist(samples, samples), torch.cdist(real, real)
    between = torch.cdist(samples, real)

    def shares(i: Tensor, j: Tensor) -> Tensor:
        distance = _blocks(between, i, j)
        in_data = _any(distance <= _radii(among_real, j, k), 3)
        in_samples = _any(distance <= _radii(among_samples, i, k)[..., None, None], 1)
        return torch.stack([in_data.double().mean(1), in_samples.double().mean(2)], 2)

    (precision, recall), spread = _with_halves(shares, samples, real, k, errors)
    return {
        "precision": _share(float(precision), spread, 0, len(samples), k=k),
        "recall": _share(float(recall), spread, 1, len(real), k=k),
    }


def density_coverage(samples: Tensor, real: Tensor, k: int = 5, *, errors: bool = True) -> dict[str, Score]:
    """How often samples lie in the balls around data (density), and the share of balls that hold a sample (coverage).

        density = 1 / (k m) Σ_j Σ_i [s_j ∈ B(x_i)],   coverage = 1 / n Σ_i [some s_j ∈ B(x_i)]

    B(x_i) reaches to the k-th nearest of the other data. Unlike precision and recall, both are robust to outliers among
    the samples. Of one distribution, the expected density is 1 and the expected coverage, the detail ``floor``,
    ``1 - Π_{i=1}^{k} (n - i) / (n + m - i)``. Naeem et al., "Reliable fidelity and diversity metrics for generative
    models", ICML 2020.

    Args:
        samples, real: features, ``(m, d)`` and ``(n, d)``, more than k rows each.
        k: the neighbour that determines the radius.
        errors: whether the scores get intervals, from halves of the rows, which take most of the time.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("density and coverage", k + 1, samples=samples, real=real)
    among_real, between = torch.cdist(real, real), torch.cdist(samples, real)

    def values(i: Tensor, j: Tensor) -> Tensor:
        inside = _blocks(between, i, j) <= _radii(among_real, j, k)
        density = inside.sum((1, 3)).double() / (i.shape[1] * k)
        return torch.stack([density, _any(inside, 1).double().mean(2)], 2)

    (density, coverage), spread = _with_halves(values, samples, real, k, errors)
    n, m = len(real), len(samples)
    expected = 1 - float(torch.tensor([(n - i) / (n + m - i) for i in range(1, k + 1)]).prod())
    return {
        "density": _density(float(density), spread, m, k=k, floor=1.0),
        "coverage": _share(float(coverage), spread, 1, n, k=k, floor=expected),
    }


def _with_halves(
    statistics: Callable[[Tensor, Tensor], Tensor], samples: Tensor, real: Tensor, k: int, errors: bool
) -> tuple[Tensor, Halves | None]:
    """Statistics of all rows, and, for their errors, of halves of them unless these have too few neighbours.

    Args:
        statistics: ``statistics(i, j) -> (a, b, q)``, of each block of samples with each block of data, given the
            indices of their rows, ``(a, block)`` and ``(b, block)``.
        samples, real, k, errors: as for the scores.
    """
    n, m = len(samples), len(real)
    enough = errors and min(n, m) // 2 > k
    return statistics(torch.arange(n)[None], torch.arange(m)[None])[0, 0], halves(statistics, n, m) if enough else None


def _share(value: float, spread: Halves | None, index: int, n: int, **detail: float) -> Score:
    """A share of n rows, with the interval of as many independent rows as have the spread of halves."""
    effective, scale, contrasts = float(n), 0.0, None
    if spread is not None:
        mean, variance = float(spread.mean[index]), float(spread.variance[index])
        if variance and 0 < mean < 1:
            effective = 2 * mean * (1 - mean) / variance
            scale = (value * (1 - value) / (mean * (1 - mean))) ** 0.5
        contrasts = _contributions(spread, index, scale)
    error = (value * (1 - value) / effective) ** 0.5
    return Score(value, error, "statistic", "share", {"n": n, **detail}, wilson(value, effective), contrasts)


def _density(value: float, spread: Halves | None, n: int, **detail: float) -> Score:
    """A mean of counts: its variance grows as the mean, so that its root has an interval of constant width."""
    error, contrasts = 0.0, None
    if spread is not None and (mean := float(spread.mean[0])):
        error = float(SHARE_OF_HALVES * spread.variance[0] * value / mean) ** 0.5
        contrasts = _contributions(spread, 0, (2 * SHARE_OF_HALVES * value / mean) ** 0.5)
    half = NORMAL_QUANTILE * error / (2 * value**0.5) if value else 0.0
    low, high = (max(value**0.5 + sign * half, 0.0) ** 2 for sign in (-1, 1))
    limits = (low, max(high, 3.7 / n))  # of n rows none was inside: Poisson's interval
    return Score(value, error, "statistic", "density", {"n": n, **detail}, limits, contrasts)


def _contributions(spread: Halves, index: int, scale: float) -> Tensor:
    """What halves of the data contribute, as values whose mean has the error that is due to the data."""
    contrasts = spread.contrasts[:, index]
    return contrasts * (scale / 2 * len(contrasts) ** 0.5)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _blocks(distances: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Those between blocks of rows, ``(*i.shape, *j.shape)``, given all distances and indices."""
    rows, columns = (index.flatten().to(distances.device) for index in (i, j))
    return distances.index_select(0, rows).index_select(1, columns).view(*i.shape, *j.shape)


def _radii(distances: Tensor, blocks: Tensor, k: int) -> Tensor:
    """The distance of each row to the k-th nearest other one of its block, ``blocks.shape``, given all distances."""
    within = torch.stack([_blocks(distances, block, block) for block in blocks])
    return within.topk(k + 1, largest=False).values[..., k]  # the first is the row itself


def _any(inside: Tensor, dim: int) -> Tensor:
    """``inside.any(dim)``, which on a CPU takes many times as long."""
    return inside.view(torch.uint8).amax(dim)
