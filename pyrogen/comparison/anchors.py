"""Reference rows that calibrate the scores of a comparison: the best possible value and a baseline."""

from collections.abc import Sequence
from typing import Any

import torch

from pyrogen.data.dataset import Dataset
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.samples import reference_scores, sample_scores
from pyrogen.protocols import Score
from pyrogen.random import derive, scoped_seed
from pyrogen.recipes.densities import covariance_form


def anchors(data: Dataset, seed: int, spaces: Sequence[str] = ()) -> dict[str, Any]:
    """The scores of training data used as samples, and of a Gaussian fitted in closed form."""
    x, *_ = data.train.tensors(seed)
    covariance = covariance_form("auto", len(x), data.dims)
    baseline = Gaussian.from_data(x, covariance, jitter=1e-6)
    scores: dict[str, Score] = {}
    if data.space.probability == "density":
        scores = evaluate(baseline, data, seed=seed, spaces=spaces)
    else:
        with scoped_seed(derive(seed, "anchor")), torch.no_grad():
            scores = sample_scores(baseline.sample(1000), data, seed, spaces)
    return {
        "train": {
            "about": "training data used as samples: the best possible value",
            "scores": {name: s.as_dict() for name, s in reference_scores(data, seed, spaces).items()},
        },
        "gaussian": {
            "about": f"Gaussian with {covariance} covariance in closed form: the baseline",
            "scores": {name: s.as_dict() for name, s in scores.items()},
        },
    }
