"""Scores of samples in a feature space, against training data and beside those of test data."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.measure.divergence import sliced_wasserstein
from pyrogen.measure.features.fld import fld
from pyrogen.measure.features.ndb import Bins, ndb
from pyrogen.measure.features.spaces import FeatureSpace, feature_map, space_name
from pyrogen.measure.fid import density_coverage, fid, inception_score, kid, precision_recall
from pyrogen.protocols import Score
from pyrogen.random import random_rows

MANIFOLD_ROWS = 2000
"""The most rows used for precision, recall, density and coverage, whose cost is quadratic."""
USUAL_SPACE = dict.fromkeys(("fid", "kid", "inception_score", "fld"), "classifier")
"""The space in which a score has its plain name; ``values`` for all others. Elsewhere it is ``name@space``."""


def feature_scores(
    samples: Tensor, data: Dataset, space: FeatureSpace = "classifier", seed: int = 0
) -> dict[str, Score]:
    """Score samples in a feature space, against the training data.

    The detail ``test`` is the score of as many test data in place of samples, or of all if there are fewer. ``ratio``
    is the score of as many samples as that, divided by it, unless it is 0: below 1 for a distance, samples are closer
    to the training data than test data are. ``fld`` has neither: it is itself a comparison with test data.

    Args:
        samples: ``(n, *shape)`` in model coordinates.
        data: the data set.
        space: ``values``, ``classifier``, ``inception``, a trained classifier of this data set, or a callable that maps
            images in [0, 1], or standardised vectors, to ``(n, d)``.
        seed: of the choice of rows where a score takes fewer than there are.

    Returns:
        ``precision``, ``recall``, ``density`` and ``coverage``; of ``values`` also ``swd`` and ``ndb``, elsewhere
        ``fid``, ``kid`` and ``fld``; and ``inception_score`` of a classifier.

    Raises:
        ConfigError: for a space that these data do not have.
        DataError: for too few rows, or features that are not finite.
    """
    features = feature_map(space, data)
    # Rows of any order: each set once in random order, so that a part of it is a random part.
    sets = {"train": data.train.tensors()[0], "samples": samples}
    rows = {name: random_rows(x, len(x), seed, name) for name, x in sets.items()}
    rows["test"] = random_rows(data.test.tensors()[0], len(samples), seed, "features")
    found = {name: features(data.space.to_comparable(x)) for name, x in rows.items()}
    (train, _), (of_samples, log_p), (test, test_log_p) = found["train"], found["samples"], found["test"]
    bins = Bins(train, seed=seed) if space == "values" else None
    scores, others = _scores(of_samples, log_p, train, bins, seed), _scores(test, test_log_p, train, bins, seed)
    n = len(test)
    as_many = (
        scores
        if len(samples) == n
        else _scores(of_samples[:n], None if log_p is None else log_p[:n], train, bins, seed)
    )
    for name, score in scores.items():
        value = others[name].value
        ratio = {"ratio": as_many[name].value / value} if value else {}
        scores[name] = replace(score, detail={**score.detail, "test": value, **ratio})
    return scores if space == "values" else scores | {"fld": fld(of_samples, train, test, seed)}


def space_scores(samples: Tensor, data: Dataset, spaces: Sequence[FeatureSpace], seed: int = 0) -> dict[str, Score]:
    """``feature_scores`` in several spaces: ``name`` in the usual space of a score, ``name@space`` in another.

    Args:
        samples, data, seed: as for ``feature_scores``.
        spaces: names of spaces, or callables.
    """
    found = {}
    for space in spaces:
        label = space_name(space)
        for name, score in feature_scores(samples, data, space, seed).items():
            found[name if label == USUAL_SPACE.get(name, "values") else f"{name}@{label}"] = score
    return found


def _scores(rows: Tensor, log_prob: Tensor | None, train: Tensor, bins: Bins | None, seed: int) -> dict[str, Score]:
    """The scores of one set against training data, both in random order."""
    as_many = train[: len(rows)]
    few, few_train = rows[:MANIFOLD_ROWS], as_many[:MANIFOLD_ROWS]
    shared = precision_recall(few, few_train) | density_coverage(few, few_train)
    if bins is not None:
        return shared | {"swd": sliced_wasserstein(rows, as_many, seed=seed), "ndb": ndb(rows, bins, seed=seed)}
    classified = {} if log_prob is None else {"inception_score": inception_score(log_prob)}
    return {"fid": fid(rows, train), "kid": kid(rows, as_many)} | classified | shared
