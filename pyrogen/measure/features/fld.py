"""The feature likelihood divergence and its generalisation gap.

Jiralerspong et al., "Feature likelihood divergence: evaluating the generalization of generative models using samples",
NeurIPS 2023.
"""

from math import log, pi

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.protocols import Score
from pyrogen.random import random_rows

ITERATIONS, TOLERANCE = 50, 1e-4
"""The most steps of EM, and the gain in nats per dimension below which it ends."""
PAIRS, LEAST_NEAREST, ROWS = 4_000_000, 64, 2000
"""Of more pairs of training data and Gaussians, EM sees the nearest Gaussians of each datum, at least 64 of them."""
FLOOR = 1e-6
"""The least variance of a Gaussian, relative to that of the features: copies of training data would have 0."""
BACKGROUND = 0.9
"""The background is centred on each training row, at this share of its distance from the mean."""


def fld(samples: Tensor, train: Tensor, test: Tensor, seed: int = 0) -> Score:
    """Minus the log-likelihood of test data under Gaussians at the samples, against that of Gaussians at real data.

    Features are standardised by the moments of the training data. The density of m samples s_j in d dimensions is

        p(x) = 1/m Σ_j N(x; s_j, σ_j² I),   σ² maximises Σ_{x in train} log(p(x) + b(x))

    where the background ``b(x) = N(0.9 (x - x̄); 0, σ_b² I)``, σ_b fitted too, takes up training data that are far from
    all samples. A sample that copies a training datum gets a σ_j near 0 and is lost for the test data. Then

        FLD(D) = -100/d mean_{x in D} log p(x) - C,   value = FLD(test),   gap = FLD(train) - FLD(test)

    with C the first term for Gaussians at a random half of the training data, fitted to the other half. Lower is
    better, about 0 for samples of the data's distribution. The detail ``gap`` is the generalisation gap: clearly below
    0, samples explain training data better than test data, as copies do. The m variances are fitted to the training
    data, so that the gap of new data is slightly negative too: the detail ``gap_floor`` is the gap of the half of which
    C is computed.

    Variances are fitted by EM in place of the authors' gradient steps, and are at least 1e-6; of more than 4 million
    pairs of data and Gaussians, by the nearest Gaussians of each datum. C depends on the number of Gaussians, so of
    more samples than half the training data as many are taken at random.

    Samples narrower than the data are not always penalised, and can have values below 0: of data from one Gaussian, a
    wide Gaussian at the mean is the best. A lost mode is.

    Args:
        samples: features, ``(m, d)``.
        train, test: features, ``(n, d)`` and ``(l, d)``; at least four training rows.
        seed: of the choice of samples and of the half.

    Returns:
        The divergence in nats per 100 dimensions. Its standard error is over the test data, of the difference to C's
        log-likelihoods of the same data.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    check_sets("fld", 4, train=train, samples=samples, test=test)
    flat = [rows.flatten(1).double() for rows in (train, samples, test)]
    mean, scale = flat[0].mean(0), flat[0].std(0)
    scale = torch.where(scale > 0, scale, 1.0)
    train, samples, test = ((rows - mean) / scale for rows in flat)
    d = train.shape[1]
    train = random_rows(train, len(train), seed, "fld", "train")
    half = len(train) // 2
    m = min(len(samples), half)
    samples = random_rows(samples, m, seed, "fld", "samples")
    variance = _fit(samples, train)
    real = _fit(train[:m], train[half:])
    base, base_fitted = (_log_density(rows, train[:m], real) for rows in (test, train[half:]))
    of_test, of_train = (_log_density(rows, samples, variance) for rows in (test, train))
    lost = 100 / d * (base - of_test)
    gap = 100 / d * float(of_test.mean() - of_train.mean())
    error = float(lost.std() / len(lost) ** 0.5)
    gap_floor = 100 / d * float(base.mean() - base_fitted.mean())
    detail = {"gap": gap, "gap_floor": gap_floor, "n": m, "reference": len(train), "test_rows": len(test)}
    return Score(float(lost.mean()), error, "estimate", "nats/100 dims", detail)


def _fit(centres: Tensor, x: Tensor) -> Tensor:
    """The variances σ_j² of Gaussians at ``centres``, ``(m,)``, by maximum likelihood of x, beside the background."""
    m, d = centres.shape
    # Each row's squared distances to its centres and, last, to the background, whose index is m.
    square, index, nearest = _nearest_centres(x, centres)
    far = BACKGROUND**2 * (x - x.mean(0)).square().sum(1).float()
    square = torch.cat([square, far[:, None]], 1)
    index = torch.cat([index, index.new_full((len(x), 1), m)], 1)
    log_weight = torch.full((m + 1,), -log(m), device=x.device)
    log_weight[m] = 0.0
    variance = (torch.cat([nearest, far.mean()[None]]) / d).clamp_min(FLOOR)
    before = -torch.inf
    for _ in range(ITERATIONS):
        total, weighted, value = torch.zeros_like(variance), torch.zeros_like(variance), 0.0
        for part, at in zip(square.split(ROWS), index.split(ROWS), strict=True):
            log_joint = _log_normal(part, variance[at], d) + log_weight[at]
            log_p = log_joint.logsumexp(1, keepdim=True)
            share = (log_joint - log_p).exp_()
            total.index_add_(0, at.flatten(), share.flatten())
            weighted.index_add_(0, at.flatten(), (share * part).flatten())
            value += float(log_p.double().sum())
        # A centre that explains no datum keeps the variance of its nearest one.
        fitted = weighted / (d * total.clamp_min(1e-30))
        variance = torch.where(total > 1e-12, fitted, variance).clamp_min(FLOOR)
        gain, before = value / (len(x) * d) - before, value / (len(x) * d)
        if gain < TOLERANCE:
            break
    return variance[:m].double()


def _nearest_centres(x: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's squared distances to its nearest centres and their indices, and each centre's to its nearest row."""
    k = min(len(centres), max(LEAST_NEAREST, PAIRS // len(x)))
    squares, indices, nearest = [], [], torch.full((len(centres),), torch.inf, device=x.device)
    for part in x.split(ROWS):
        square = _square_distances(part, centres).float()
        nearest = torch.minimum(nearest, square.min(0).values)
        values, index = square.topk(k, 1, largest=False, sorted=False)
        squares.append(values)
        indices.append(index)
    return torch.cat(squares), torch.cat(indices), nearest


def _log_density(x: Tensor, centres: Tensor, variance: Tensor) -> Tensor:
    """``log 1/m Σ_j N(x; s_j, σ_j² I)``, ``(n,)``."""
    m, d = centres.shape
    squares = (_square_distances(part, centres) for part in x.split(ROWS))
    return torch.cat([_log_normal(square, variance, d).logsumexp(1) - log(m) for square in squares])


def _log_normal(square: Tensor, variance: Tensor, d: int) -> Tensor:
    return -0.5 * (square / variance + d * (2 * pi * variance).log())


def _square_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y).square()
