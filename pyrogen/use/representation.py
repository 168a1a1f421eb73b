"""How good codes are as features: classifiers and clusters on them, beside the data themselves and their PCA.

A probe is a classifier of little capacity, logistic regression or nearest neighbours, trained on few labelled codes.
Clusters are compared with classes by

    accuracy = max over one-to-one assignments of clusters to classes of the share of data in the assigned class,

the adjusted Rand index and the normalised mutual information.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.measure.intervals import over_seeds
from pyrogen.protocols import Score
from pyrogen.random import derive
from pyrogen.use.codes import by_rows, encode

LABELS = (10, 100, 1000, None)
"""The numbers of labelled data; ``None`` for all."""
NEIGHBOURS = 5
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Probe:
    """The test accuracy of one classifier on one kind of features.

    Args:
        features: ``codes``, ``data`` or ``pca``.
        classifier: ``logistic`` or ``neighbours``.
        labels: how many labelled training data it had.
        accuracy: the mean over draws of the labelled data, with its interval.
    """

    features: str
    classifier: str
    labels: int
    accuracy: Score


def probe(
    model: Any, data: Dataset, *, labels: Sequence[int | None] = LABELS, seeds: int = 5, seed: int = 0
) -> list[Probe]:
    """Classify test data by their codes, by the data and by as many principal components as codes have.

    Args:
        model: a model with codes, trained on ``data``.
        data: a data set with labels.
        labels: the numbers of labelled training data, at least one of each class; ``None`` for all.
        seeds: draws of the labelled data; all of them are the same for ``None``.
        seed: of the draws.

    Raises:
        ConfigError: without labels, for fewer labels than classes, or for a model without codes.
    """
    features, (y, y_test) = _features(model, data, seed)
    wanted = sorted({min(n or len(y), len(y)) for n in labels})
    if wanted[0] < len(data.classes):
        raise ConfigError(f"expected a label of each of {len(data.classes)} classes at least; got {wanted[0]}")
    found = []
    for name, (x, x_test) in features.items():
        for n in wanted:
            rows = [_stratified(y, n, derive(seed, "probe", i)) for i in range(seeds if n < len(y) else 1)]
            for classifier in ("logistic", "neighbours"):
                accuracy = [float((_classify(classifier, x[i], y[i], x_test) == y_test).mean()) for i in rows]
                found.append(Probe(name, classifier, n, _accuracy(accuracy, len(y_test))))
    return found


def cluster(
    codes: Tensor, k: int, y: Tensor | None = None, *, method: str = "kmeans", seed: int = 0
) -> tuple[Tensor, dict[str, Score]]:
    """Cluster codes by k-means or by a mixture of Gaussians with full covariances.

    Args:
        codes: ``(n, latent)``; or any features.
        k: the number of clusters.
        y: classes, by which the clusters are scored, ``long (n,)``.
        method: ``kmeans`` or ``gaussian``.
        seed: of the starts.

    Returns:
        The cluster of each code, ``long (n,)``, and its scores, if there are classes.

    Raises:
        ConfigError: for fewer codes than clusters, or an unknown method.
    """
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    if not 1 <= k <= len(codes):
        raise ConfigError(f"expected 1 to {len(codes)} clusters, as many as data at most; got {k}")
    flat = codes.flatten(1).double().cpu().numpy()
    if method == "kmeans":
        found = KMeans(k, n_init=10, random_state=derive(seed, "kmeans") % 2**32).fit_predict(flat)
    elif method == "gaussian":
        mixture = GaussianMixture(k, n_init=3, reg_covar=1e-4, random_state=derive(seed, "gaussian") % 2**32)
        found = mixture.fit_predict(flat)
    else:
        raise ConfigError(f"unknown method {method!r} (known: gaussian, kmeans)")
    assigned = torch.from_numpy(found).long()
    return assigned, {} if y is None else cluster_scores(assigned, y)


def assign(model: Any, x: Tensor) -> Tensor:
    """The clusters of data by a model that has its own, ``long (n,)``.

    Args:
        model: a model with ``assign(x)``, such as ``GMVAE``.
        x: data in model coordinates, ``(n, *event)``.

    Raises:
        ConfigError: if the model does not cluster.
    """
    if not callable(getattr(model, "assign", None)):
        raise ConfigError(f"a {type(model).__name__} has no clusters of its own: it has no assign(x)")
    return by_rows(model, model.assign, 0, x, None)


def cluster_scores(clusters: Tensor, y: Tensor) -> dict[str, Score]:
    """``cluster_accuracy``, ``ari`` and ``nmi`` of clusters against classes; 1 is the best of each.

    Args:
        clusters: the cluster of each datum, ``long (n,)``.
        y: its class, ``long (n,)``.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    a, b, n = clusters.cpu().numpy(), y.cpu().numpy(), len(y)
    table = contingency_matrix(a, b)
    rows, columns = linear_sum_assignment(-table)
    accuracy = float(table[rows, columns].sum() / n)
    error = (accuracy * (1 - accuracy) / n) ** 0.5
    return {
        "cluster_accuracy": Score(accuracy, error, "statistic", "accuracy", {"n": n}),
        "ari": Score(float(adjusted_rand_score(b, a)), 0.0, "statistic", "index", {"n": n}),
        "nmi": Score(float(normalized_mutual_info_score(b, a)), 0.0, "statistic", "index", {"n": n}),
    }


def _accuracy(values: list[float], n: int) -> Score:
    """The mean accuracy over seeds; of one seed, with the error of its test data."""
    if len(values) == 1:
        return Score(values[0], (values[0] * (1 - values[0]) / n) ** 0.5, "statistic", "accuracy", {"n": n})
    centre, error, interval = over_seeds(values, "accuracy")
    return Score(centre, error, "statistic", "accuracy", {"n": n, "seeds": len(values)}, interval)


def _features(
    model: Any, data: Dataset, seed: int
) -> tuple[Mapping[str, tuple[Array, Array]], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Standardised features of training and test data by name, and their labels."""
    from sklearn.decomposition import PCA

    if not data.classes or data.train.y is None or data.test.y is None:
        raise ConfigError(f"{data.name} has no labels to probe codes by")
    (x, *side), (x_test, *side_test) = data.train.tensors(seed), data.test.tensors(seed)
    codes = [encode(model, *part[:2]).flatten(1) for part in ((x, *side), (x_test, *side_test))]
    flat = [part.flatten(1).double().cpu().numpy() for part in (x, x_test)]
    pca = PCA(min(codes[0].shape[1], *flat[0].shape), random_state=0).fit(flat[0])
    by_name = {
        "codes": [part.double().cpu().numpy() for part in codes],
        "data": flat,
        "pca": [pca.transform(part) for part in flat],
    }
    labels = data.train.y[data.train.sample_index], data.test.y[data.test.sample_index]
    return {name: _standardise(*parts) for name, parts in by_name.items()}, (
        labels[0].cpu().numpy(),
        labels[1].cpu().numpy(),
    )


def _standardise(train: Array, test: Array) -> tuple[Array, Array]:
    """Both sets in units of the training data's deviation, one for all features so that distances keep their form."""
    mean, scale = train.mean(0), max(float(train.std(0).max()), 1e-12)
    return (train - mean) / scale, (test - mean) / scale


def _stratified(y: NDArray[np.int64], n: int, seed: int) -> NDArray[np.intp]:
    """``n`` random rows with as many of each class as possible."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    rank = np.empty(len(y), dtype=np.intp)  # of each row within its class, in random order
    for label in np.unique(y):
        rank[order[y[order] == label]] = np.arange((y == label).sum())
    return np.lexsort((rng.permutation(len(y)), rank))[:n]


def _classify(classifier: str, x: Array, y: NDArray[np.int64], x_test: Array) -> NDArray[np.int64]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    if classifier == "logistic":
        fitted = LogisticRegression(max_iter=2000).fit(x, y)
    else:
        fitted = KNeighborsClassifier(min(NEIGHBOURS, max(len(x) // len(np.unique(y)), 1))).fit(x, y)
    found: NDArray[np.int64] = fitted.predict(x_test)
    return found
