"""Reference rows that calibrate the scores of a comparison: the best possible value and a baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pyrogen.comparison.scoring import aggregate_seeds
from pyrogen.data.dataset import Dataset
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.samples import reference_scores, sample_scores
from pyrogen.protocols import Score
from pyrogen.random import derive, scoped_seed
from pyrogen.recipes.densities import covariance_form


def anchors(sets: Mapping[int, Dataset], spaces: Sequence[str] = ()) -> dict[str, Any]:
    """The scores of training data used as samples, and of a Gaussian fitted in closed form.

    Args:
        sets: the data set of each seed; scores of several are their mean, with the standard error over seeds.
        spaces: feature spaces in which samples are scored.
    """
    each = [(_training_data(data, seed, spaces), _gaussian(data, seed, spaces)) for seed, data in sets.items()]
    train, gaussian = (aggregate_seeds(list(results)) for results in zip(*each, strict=True))
    return {"train": train, "gaussian": gaussian}


def _training_data(data: Dataset, seed: int, spaces: Sequence[str]) -> dict[str, Any]:
    return _entry("training data used as samples: the best possible value", reference_scores(data, seed, spaces))


def _gaussian(data: Dataset, seed: int, spaces: Sequence[str]) -> dict[str, Any]:
    x, *_ = data.train.tensors(seed)
    covariance = covariance_form("auto", len(x), data.dims)
    baseline = Gaussian.from_data(x, covariance, jitter=1e-6)
    if data.space.probability == "density":
        scores = evaluate(baseline, data, seed=seed, spaces=spaces)
    else:
        with scoped_seed(derive(seed, "anchor")), torch.no_grad():
            scores = sample_scores(baseline.sample(1000), data, seed, spaces)
    return _entry(f"Gaussian with {covariance} covariance in closed form: the baseline", scores)


def _entry(about: str, scores: Mapping[str, Score]) -> dict[str, Any]:
    return {"about": about, "scores": {name: score.as_dict() for name, score in scores.items()}}
