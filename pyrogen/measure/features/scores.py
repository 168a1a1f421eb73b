"""Scores of samples in a feature space."""

from dataclasses import replace

from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.measure.features.classifier import Classifier
from pyrogen.measure.fid import fid, inception_score, kid, precision_recall
from pyrogen.protocols import Score
from pyrogen.random import random_rows

MANIFOLD_ROWS = 2000
"""The most rows used for precision and recall, whose cost is quadratic."""


def feature_scores(samples: Tensor, data: Dataset, classifier: Classifier, seed: int = 0) -> dict[str, Score]:
    """Score samples in the feature space of a classifier: FID, KID, inception score, precision and recall.

    The reference is the training data. The detail ``test`` is the score of as many test data in place of samples, and
    ``ratio`` the quotient, unless that is 0: below 1, samples are closer to the training data than test data are.

    Args:
        samples: ``(n, *shape)`` in model coordinates.
        data: the data set.
        classifier: a classifier of this data set.
        seed: of the choice of rows where a score takes fewer than there are.

    Returns:
        ``fid``, ``kid``, ``inception_score``, ``precision`` and ``recall``.
    """
    to_comparable = data.space.to_comparable
    (of_samples, of_samples_log_prob), (test, test_log) = (
        classifier(to_comparable(samples)),
        classifier(to_comparable(random_rows(data.test.tensors()[0], len(samples), seed, "features"))),
    )
    train, _ = classifier(to_comparable(data.train.tensors()[0]))
    # Rows of any order: each set once in random order, so that a part of it is a random part.
    train, of_samples, test = (
        random_rows(rows, len(rows), seed, name)
        for name, rows in (("train", train), ("samples", of_samples), ("test", test))
    )
    scores, others = (
        {"fid": fid(f, train), "inception_score": inception_score(log_p)}
        for f, log_p in ((of_samples, of_samples_log_prob), (test, test_log))
    )
    n = min(len(of_samples), len(test), MANIFOLD_ROWS)
    scores |= {"kid": kid(of_samples, train[: len(of_samples)])} | precision_recall(of_samples[:n], train[:n])
    others |= {"kid": kid(test, train[: len(test)])} | precision_recall(test[:n], train[:n])
    for name, score in scores.items():
        value = others[name].value
        ratio = {"ratio": score.value / value} if value else {}
        scores[name] = replace(score, detail={**score.detail, "test": value, **ratio})
    return scores
