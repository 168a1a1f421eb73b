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


class Reference:
    """A data set in one feature space, with what scores need of the data alone.

    Args:
        data: the data set.
        space: ``values``, ``classifier``, ``inception``, a trained classifier of this data set, or a callable that maps
            images in [0, 1], or standardised vectors, to ``(n, d)``.
        seed: of the choice of rows where a score takes fewer than there are.

    Raises:
        ConfigError: for a space that these data do not have.
        DataError: for features of the data that are not finite.
    """

    def __init__(self, data: Dataset, space: FeatureSpace = "classifier", seed: int = 0) -> None:
        self.name, self.data, self.seed = space_name(space), data, seed
        self.features = feature_map(space, data)
        # Rows of any order: each set once in random order, so that a part of it is a random part.
        self.train = self._shuffled(data.train.tensors()[0], "train")[0]
        self.test, self.of_test = self._shuffled(data.test.tensors()[0], "features")
        self.bins = Bins(self.train, seed=seed) if space == "values" else None
        self._test_scores: dict[int, dict[str, Score]] = {}

    def _shuffled(self, x: Tensor, name: str) -> tuple[Tensor, Tensor | None]:
        return self.features(self.data.space.to_comparable(random_rows(x, len(x), self.seed, name)))

    def embed(self, x: Tensor) -> Tensor:
        """Features of data in comparable form, ``(n, d)``, on the CPU."""
        return self.features(x.to(self.data.train.device))[0].detach().cpu()

    def scores(self, samples: Tensor) -> dict[str, Score]:
        """The scores of samples, as ``feature_scores`` describes them."""
        of_samples, log_p = self._shuffled(samples.to(self.data.train.device), "samples")
        found, n = self._scores(of_samples, log_p, errors=True), min(len(samples), len(self.test))
        as_many = found if len(samples) == n else self._scores(of_samples[:n], None if log_p is None else log_p[:n])
        if n not in self._test_scores:
            of_test = None if self.of_test is None else self.of_test[:n]
            self._test_scores[n] = self._scores(self.test[:n], of_test)
        for name, score in found.items():
            value = self._test_scores[n][name].value
            ratio = {"ratio": as_many[name].value / value} if value else {}
            found[name] = replace(score, detail={**score.detail, "test": value, **ratio})
        if self.bins is not None:
            return found
        return found | {"fld": fld(of_samples, self.train, self.test[:n], self.seed)}

    def _scores(self, rows: Tensor, log_prob: Tensor | None, *, errors: bool = False) -> dict[str, Score]:
        """The scores of one set against training data, both in random order."""
        as_many = self.train[: len(rows)]
        few, few_train = rows[:MANIFOLD_ROWS], as_many[:MANIFOLD_ROWS]
        shared = precision_recall(few, few_train, errors=errors) | density_coverage(few, few_train, errors=errors)
        if self.bins is not None:
            swd = sliced_wasserstein(rows, as_many, seed=self.seed)
            return shared | {"swd": swd, "ndb": ndb(rows, self.bins, seed=self.seed)}
        classified = {} if log_prob is None else {"inception_score": inception_score(log_prob)}
        return {"fid": fid(rows, self.train), "kid": kid(rows, as_many)} | classified | shared


def feature_scores(
    samples: Tensor, data: Dataset, space: FeatureSpace = "classifier", seed: int = 0
) -> dict[str, Score]:
    """Score samples in a feature space, against the training data: ``Reference(data, space, seed).scores(samples)``.

    The detail ``test`` is the score of as many test data in place of samples, or of all if there are fewer. ``ratio``
    is the score of as many samples as that, divided by it, unless it is 0: below 1 for a distance, samples are closer
    to the training data than test data are. ``fld`` has neither: it is itself a comparison with test data.

    Args:
        samples: ``(n, *shape)`` in model coordinates.
        data, space, seed: as for ``Reference``.

    Returns:
        ``precision``, ``recall``, ``density`` and ``coverage``; of ``values`` also ``swd`` and ``ndb``, elsewhere
        ``fid``, ``kid`` and ``fld``; and ``inception_score`` of a classifier.

    Raises:
        ConfigError: for a space that these data do not have.
        DataError: for too few rows, or features that are not finite.
    """
    return Reference(data, space, seed).scores(samples)


def space_scores(
    samples: Tensor, data: Dataset, spaces: Sequence[FeatureSpace | Reference], seed: int = 0
) -> dict[str, Score]:
    """``feature_scores`` in several spaces: ``name`` in the usual space of a score, ``name@space`` in another.

    The detail ``space`` names it.

    Args:
        samples, data, seed: as for ``feature_scores``.
        spaces: names of spaces, callables, or references to this data set.
    """
    found = {}
    for space in spaces:
        reference = space if isinstance(space, Reference) else Reference(data, space, seed)
        for name, score in reference.scores(samples).items():
            usual = reference.name == USUAL_SPACE.get(name, "values")
            in_space = replace(score, detail={**score.detail, "space": reference.name})
            found[name if usual else f"{name}@{reference.name}"] = in_space
    return found
