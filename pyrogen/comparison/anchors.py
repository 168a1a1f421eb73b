"""Reference rows that calibrate the scores of a comparison: the best possible value and a baseline."""

from collections.abc import Mapping
from typing import Any

import torch

from pyrogen.comparison.scoring import Scorer, aggregate_seeds
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.samples import N_SAMPLES, draw_samples, reference_scores, sample_scores
from pyrogen.random import derive, random_rows, scoped_seed
from pyrogen.recipes.densities import covariance_form


def anchors(scorers: Mapping[int, Scorer]) -> dict[str, Any]:
    """The scores of training data used as samples, and of a Gaussian fitted in closed form.

    Args:
        scorers: of each seed; scores of several seeds are their mean, with the standard error over seeds.
    """
    each = [(_training_data(scorer), _gaussian(scorer)) for scorer in scorers.values()]
    train, gaussian = (aggregate_seeds(list(results)) for results in zip(*each, strict=True))
    return {"train": train, "gaussian": gaussian}


def _training_data(scorer: Scorer) -> dict[str, Any]:
    data, seed = scorer.data, scorer.seed
    return {
        "about": "training data used as samples: the best possible value",
        "scores": reference_scores(data, seed, scorer.references),
        "verdict": scorer.verdict(random_rows(data.train.tensors(seed)[0], N_SAMPLES, seed, "anchor")),
    }


def _gaussian(scorer: Scorer) -> dict[str, Any]:
    data, seed = scorer.data, scorer.seed
    x, *_ = data.train.tensors(seed)
    covariance = covariance_form("auto", data)
    baseline = Gaussian.from_data(x, covariance, jitter=1e-6)
    if data.space.probability == "density":
        samples = draw_samples(baseline, data, N_SAMPLES, seed)
        scores = evaluate(baseline, data, seed=seed, spaces=scorer.references)
    else:
        with scoped_seed(derive(seed, "anchor")), torch.no_grad():
            samples = baseline.sample(N_SAMPLES)
        scores = sample_scores(samples, data, seed, scorer.references)
    about = f"Gaussian with {covariance} covariance in closed form: the baseline"
    return {"about": about, "scores": scores, "verdict": scorer.verdict(samples)}
