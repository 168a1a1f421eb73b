"""The classifier two-sample test.

A classifier is trained to distinguish samples from data; its held-out accuracy is ½ if both have the same distribution.
Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017.
"""

from collections.abc import Callable
from functools import partial
from math import exp, pi
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from pyrogen.data.checks import check_sets
from pyrogen.measure.intervals import wilson
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.mlp import mlp
from pyrogen.protocols import Score
from pyrogen.random import derive, generator, random_rows, scoped_seed
from pyrogen.steps.gradient import GradientStep

Array = NDArray[np.float64]
Classify = Callable[[Array, Array, Array], Array]
"""``classify(x, label, unseen) -> (n,)``: how surely rows are of class 1, above 0 if more surely than not."""

TREES = 100
"""The number of extremely randomised trees."""
NETWORK_STEPS = 150
"""Training steps of the network, in batches of 64."""


def c2st(samples: Tensor, real: Tensor, folds: int = 5, permutations: int = 999, seed: int = 0) -> Score:
    """Cross-validated accuracy of extremely randomised trees between samples and data, with a permutation test.

    Two classifiers are tried, the trees and a small network. For the test of "one distribution", each learns from folds
    1 to t - 1 and ranks the rows of fold t, for every t in the second half of the folds. Given the earlier folds, the
    labels of a fold are then exchangeable, so that permuting them within folds gives the distribution of the sums of
    ranks without training again. (After ordinary cross-validation it would not: each fold teaches the others.)

    Args:
        samples, real: ``(n, *event)`` and ``(m, *event)``, at least one row for each fold; of the larger set as many
            rows as the smaller has are taken at random.
        folds: the number of folds.
        permutations: how many; the smallest p-value is 1 / (permutations + 1).
        seed: the seed of rows, folds, classifiers and permutations.

    Returns:
        The accuracy of the trees, with an interval that counts how folds depend on each other. In the detail: ``null``,
        the 95% interval of chance accuracy, ``½ ± 1.96 √((1 + 2 / π) / 4n)``; ``network_accuracy``; ``trees_p_value``
        and ``network_p_value`` of each classifier, and the ``p_value`` of the better of the two, which counts that two
        were tried.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    from sklearn.model_selection import StratifiedKFold

    check_sets("c2st", folds, samples=samples, real=real)
    n = min(len(samples), len(real))
    taken = (random_rows(rows, n, seed, "c2st", name) for name, rows in (("samples", samples), ("real", real)))
    x = torch.cat([rows.flatten(1) for rows in taken]).cpu().numpy()
    label = np.repeat([0, 1], n)
    tests = [test for _, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, label)]
    classifiers = (partial(_trees, seed=seed), partial(_network, seed=derive(seed, "c2st")))
    correct, ranks = zip(*(_held_out(classify, x, label, tests, seed) for classify in classifiers), strict=True)
    p_values = _p_values(ranks, [label[test] for test in tests[folds // 2 :]], permutations, seed)
    accuracy, half = float(correct[0].mean()), 1.96 * (_fold_dependence(0.5) / (8 * n)) ** 0.5
    detail = {
        "p_value": p_values[0],
        "null": [0.5 - half, 0.5 + half],
        "n": 2 * n,
        "trees_p_value": p_values[1],
        "network_accuracy": float(correct[1].mean()),
        "network_p_value": p_values[2],
    }
    effective = 2 * n / _fold_dependence(accuracy)
    error = (accuracy * (1 - accuracy) / effective) ** 0.5
    of_real = torch.from_numpy(correct[0][n:] / 2.0)
    return Score(accuracy, error, "statistic", "accuracy", detail, wilson(accuracy, effective), of_real)


def _fold_dependence(accuracy: float) -> float:
    """How much larger the variance of a cross-validated accuracy p is than that of independent rows.

        1 + (2 / π) exp(-z²) / 4 p (1 - p),   Φ(z) = p

    Each row is a test of what the others taught and teaches them, so that rows i and j are right together. For scores
    ``Σ_j y_j K_ij + noise`` the label of j turns the sign of row i with a weight of ``√(2/π) exp(-z²/2) K_ij / ‖K_i‖``;
    the product of both weights, summed over j, is the second term.
    """
    if accuracy in (0.0, 1.0):
        return 1.0
    z = NormalDist().inv_cdf(accuracy)
    return 1 + 2 / pi * exp(-(z**2)) / (4 * accuracy * (1 - accuracy))


def _held_out(
    classify: Classify, x: Array, label: Array, tests: list[Array], seed: int
) -> tuple[NDArray[np.bool_], list[Array]]:
    """Which rows are classified rightly in cross-validation, and the ranks in each fold by what the earlier ones teach.

    Args:
        classify: the classifier.
        x, label: all rows.
        tests: the rows of each fold.
        seed: of the order of rows with equal scores.
    """
    draws = np.random.default_rng(derive(seed, "c2st", "ties"))
    correct, ranks = np.zeros(len(x), dtype=bool), []
    for fold, test in enumerate(tests):
        others = np.concatenate([rows for other, rows in enumerate(tests) if other != fold])
        found = classify(x[np.sort(others)], label[np.sort(others)], x[test])
        correct[test] = (found > 0) == label[test]
        if fold >= len(tests) // 2:
            earlier = np.sort(np.concatenate(tests[:fold]))
            if fold < len(tests) - 1:
                found = classify(x[earlier], label[earlier], x[test])
            order = np.lexsort((draws.random(len(test)), found))  # ties at random
            ranks.append(order.argsort().astype(float))
    return correct, ranks


def _p_values(ranks: tuple[list[Array], ...], labels: list[Array], permutations: int, seed: int) -> list[float]:
    """The p-values of the best classifier and of each, from the sums of ranks of class 1 over folds.

    Args:
        ranks: of the rows of each fold, for each classifier.
        labels: of each fold.
        permutations: the number of permutations of the labels within folds.
        seed: of the permutations.
    """
    draws = generator(seed, "c2st", "permutations")
    total = torch.zeros(permutations + 1, len(ranks), dtype=torch.float64)
    for fold, label in enumerate(labels):
        given = torch.from_numpy(label).double()
        order = torch.rand(permutations, len(given), generator=draws).argsort(1)
        rank = torch.from_numpy(np.stack([of_classifier[fold] for of_classifier in ranks], 1))
        count = float(given.sum())
        deviation = (count * (len(given) - count) * (len(given) + 1) / 12) ** 0.5
        total += torch.cat([given[None], given[order]]) @ (rank - rank.mean(0)) / max(deviation, 1e-12)
    statistics = torch.cat([total.max(1, keepdim=True).values, total], 1)
    return [float(p) for p in (statistics >= statistics[0] - 1e-9).double().mean(0)]


def _trees(x: Array, label: Array, unseen: Array, *, seed: int) -> Array:
    """The log-odds, up to a monotone map, of extremely randomised trees."""
    from sklearn.ensemble import ExtraTreesClassifier

    classifier = ExtraTreesClassifier(TREES, min_samples_leaf=2, random_state=seed).fit(x, label)
    found: Array = classifier.predict_proba(unseen)[:, 1] - 0.5
    return found


def _network(x: Array, label: Array, unseen: Array, *, seed: int) -> Array:
    """The logits of a network with one hidden layer, of standardised values."""
    train, test, y = (torch.from_numpy(values).float() for values in (x, unseen, label))
    mean, std = train.mean(0), train.std(0)
    train, test = ((rows - mean) / torch.where(std > 0, std, 1.0) for rows in (train, test))
    with scoped_seed(seed):
        network = mlp(train.shape[1], (64,), 1)
        step = GradientStep(
            lambda rows, y: {"loss": F.binary_cross_entropy_with_logits(network(rows).squeeze(1), y)},
            partial(AdamW, lr=3e-3, weight_decay=0.1),
            compile=False,
        )
        for _ in range(NETWORK_STEPS):
            batch = torch.randint(len(train), (64,))
            step(train[batch], y[batch])
    with torch.no_grad(), eval_mode(network):
        logits: Array = network(test).squeeze(1).double().numpy()
    return logits
