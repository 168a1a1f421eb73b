"""Reference rows that calibrate the scores of a comparison: the best possible value and a baseline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pyrogen.comparison.config import ComparisonConfig
from pyrogen.comparison.scoring import Scorer, aggregate_seeds
from pyrogen.comparison.stored import data_key, load_entry, save_entry
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.explicit.kde import KernelDensity
from pyrogen.measure.annealing import smoothed_score
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.likelihood import in_user_units
from pyrogen.measure.samples import N_SAMPLES, draw_samples, reference_scores, sample_scores
from pyrogen.random import derive, random_rows, scoped_seed
from pyrogen.recipes.densities import covariance_form


def anchors(folder: Path, config: ComparisonConfig, scorers: Mapping[int, Scorer], overlap: float) -> dict[str, Any]:
    """The scores of training data used as samples, and of a Gaussian fitted in closed form.

    Args:
        folder: that of the comparison, where they are kept.
        config: its configuration.
        scorers: of each seed; scores of several seeds are their mean, with the standard error over seeds and data.
        overlap: the share of test rows that two seeds have in common.
    """
    each = []
    for seed, scorer in scorers.items():
        name, key = f"(anchors)-seed{seed}", data_key(config, scorer.data, seed)
        kept = load_entry(folder, name, key)
        if kept is None:
            kept = {"train": _training_data(scorer), "gaussian": _gaussian(scorer)}
            save_entry(folder, name, key, kept)
        each.append(kept)
    return {name: aggregate_seeds([one[name] for one in each], overlap) for name in each[0]}


def _training_data(scorer: Scorer) -> dict[str, Any]:
    data, seed = scorer.data, scorer.seed
    scores = reference_scores(data, seed, scorer.references)
    if scorer.annealing is not None and scorer.annealing.smoothed is not None:
        points, test = data.train.tensors(seed)[0], data.test.tensors(seed)
        known = smoothed_score(
            KernelDensity(points, 1e-6), data, test, scorer.annealing.smoothed, scorer.annealing, seed
        )
        scores |= in_user_units({"smoothed_log_likelihood": known}, data.space)
    return {
        "about": "training data used as samples: the best possible value",
        "scores": scores,
        "verdict": scorer.verdict(random_rows(data.train.tensors(seed)[0], N_SAMPLES, seed, "anchor")),
    }


def _gaussian(scorer: Scorer) -> dict[str, Any]:
    data, seed = scorer.data, scorer.seed
    x, *_ = data.train.tensors(seed)
    covariance = covariance_form("auto", data)
    baseline = Gaussian.from_data(x, covariance, jitter=1e-6)
    if data.space.probability == "density":
        samples = draw_samples(baseline, data, N_SAMPLES, seed)
        scores = evaluate(baseline, data, seed=seed, spaces=scorer.references, annealing=scorer.annealing)
    else:
        with scoped_seed(derive(seed, "anchor")), torch.no_grad():
            samples = baseline.sample(N_SAMPLES)
        scores = sample_scores(samples, data, seed, scorer.references)
    about = f"Gaussian with {covariance} covariance in closed form: the baseline"
    return {"about": about, "scores": scores, "verdict": scorer.verdict(samples)}
