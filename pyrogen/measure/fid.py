"""The Fréchet distance between features of samples and data, and related scores.

Features come from a classifier of the same data (``pyrogen.measure.features``) in place of the Inception network, so
values are comparable only for the same classifier, and should be read beside the score of real data.
"""

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.nn.mmd import polynomial_kernel, unbiased_mmd2
from pyrogen.protocols import Score


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
    converge to a local Nash equilibrium", NeurIPS 2017.

    Args:
        samples, real: features, ``(n, d)`` and ``(m, d)``, at least two rows each.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("fid", 2, samples=samples, real=real)
    centre = real.double().mean(0)
    p, q = samples.double() - centre, real.double() - centre
    cov_p, cov_q = (torch.atleast_2d(f.T.cov()) for f in (p, q))  # of one feature ``cov`` gives a number
    value = frechet_distance(p.mean(0), cov_p, q.mean(0), cov_q)
    return Score(value, 0.0, "statistic", "fid", {"n": len(p), "reference": len(q)})


def kid(samples: Tensor, real: Tensor) -> Score:
    """The unbiased MMD² of features under the kernel ``(fᵀg / d + 1)³``; lower is better, about 0 for real data.

    Bińkowski et al., "Demystifying MMD GANs", ICLR 2018. The standard error is that of the mean over 10 blocks.

    Args:
        samples, real: features, ``(n, d)`` and ``(m, d)``, at least 20 rows each, in random order.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("kid", 20, samples=samples, real=real)
    pairs = zip(samples.double().tensor_split(10), real.double().tensor_split(10), strict=True)
    blocks = torch.stack([unbiased_mmd2(polynomial_kernel(torch.cat([p, q])), len(p)) for p, q in pairs])
    return Score(float(blocks.mean()), float(blocks.std() / 10**0.5), "estimate", "mmd2", {"n": len(samples)})


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


def precision_recall(samples: Tensor, real: Tensor, k: int = 3) -> dict[str, Score]:
    """The share of samples inside the data manifold (precision) and of data inside the sample manifold (recall).

    A manifold is estimated by balls around all points, with the distance to the k-th nearest neighbour as radius.
    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019.

    Args:
        samples, real: features, ``(n, d)`` and ``(m, d)``, more than k rows each.
        k: the neighbour that determines the radius.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("precision and recall", k + 1, samples=samples, real=real)
    between = torch.cdist(samples, real)
    inside = (between <= _neighbour_radius(real, k)).any(1).double()
    reached = (_neighbour_radius(samples, k) >= between.T).any(1).double()
    return {"precision": _share(inside, k=k), "recall": _share(reached, k=k)}


def density_coverage(samples: Tensor, real: Tensor, k: int = 5) -> dict[str, Score]:
    """How often samples lie in the balls around data (density), and the share of balls that hold a sample (coverage).

        density = 1 / (k m) Σ_j Σ_i [s_j ∈ B(x_i)],   coverage = 1 / n Σ_i [some s_j ∈ B(x_i)]

    B(x_i) reaches to the k-th nearest of the other data. Unlike precision and recall, both are robust to outliers among
    the samples. Of one distribution, the expected density is 1 and the expected coverage, the detail ``floor``,
    ``1 - Π_{i=1}^{k} (n - i) / (n + m - i)``. Naeem et al., "Reliable fidelity and diversity metrics for generative
    models", ICML 2020.

    Args:
        samples, real: features, ``(m, d)`` and ``(n, d)``, more than k rows each.
        k: the neighbour that determines the radius.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("density and coverage", k + 1, samples=samples, real=real)
    inside = torch.cdist(real, samples) <= _neighbour_radius(real, k)[:, None]
    n, m = inside.shape
    expected = 1 - float(torch.tensor([(n - i) / (n + m - i) for i in range(1, k + 1)]).prod())
    density, coverage = inside.double().sum(0) / k, inside.any(1).double()
    return {"density": _share(density, k=k, floor=1.0), "coverage": _share(coverage, k=k, floor=expected)}


def _share(values: Tensor, **detail: float) -> Score:
    """The mean over rows, with its standard error."""
    error = float(values.std() / len(values) ** 0.5)
    return Score(float(values.mean()), error, "statistic", "share", {"n": len(values), **detail})


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _neighbour_radius(points: Tensor, k: int) -> Tensor:
    return torch.cdist(points, points).kthvalue(k + 1).values  # the first is the point itself
