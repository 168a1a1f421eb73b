"""Mixtures on a line or in the plane, where the density and the distance to the truth are known, at several budgets.

    W₁(p, q) = inf E‖x - x'‖ over couplings of x ~ p and x' ~ q        KL(p ‖ q) = E_p[log p(x) - log q(x)]

Each budget is a whole training with its own schedule, so that no model is judged in the middle of one. Liu and Regier,
"An empirical comparison of GANs and normalizing flows for density estimation", 2020.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pyrogen.comparison.paired import mean_of_differences
from pyrogen.comparison.scoring import aggregate_seeds, parameter_count
from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.experiments.arms import Models, budget_arms
from pyrogen.experiments.likelihood import log_likelihood
from pyrogen.experiments.plots import lines_svg, score_lines
from pyrogen.experiments.registry import Card, Entry, Plan, register
from pyrogen.measure.coverage import mode_scores
from pyrogen.measure.divergence import w1_exact
from pyrogen.measure.intervals import holm
from pyrogen.measure.likelihood import mean_score
from pyrogen.measure.samples import draw_samples
from pyrogen.protocols import Sampler, Score
from pyrogen.random import generator
from pyrogen.recipes import RECIPES, recipe
from pyrogen.recipes.options import BatchSize, Integers, Size
from pyrogen.report.formatting import format_number
from pyrogen.report.ranking import SIGNIFICANT

Budgets = Annotated[Integers, Field(min_length=1, description="numbers of optimiser steps, each a training of its own")]
FLOWS = ("realnvp", "maf", "spline")
POINTS = {1: 10_000, 2: 1500}
"""The samples of a Wasserstein distance, by dimension: their assignment costs O(n³) in the plane."""
JUDGED = 2000
"""The test data of a likelihood."""
BINS = 100
"""The cells of a histogram, each with as much of the truth."""
ALL = "all"


@register(
    "Does a game come nearer to the truth than a flow in the same time?",
    "the model; data, batches and time are the same",
    example="line",
)
def lines(
    data: Dataset,
    *,
    models: Annotated[Models, Field(description="names of recipes; `all`: every one that takes the data")] = (
        *("mixture", "maf", "spline"),
        *("gan", "relativistic-gan", "wgan-gp"),
    ),
    steps: Budgets = (100, 300, 1000),
    rows: Annotated[Size | Literal["all"], Field(description="number of training data")] = "all",
    batch_size: BatchSize = 256,
) -> Plan:
    """Recipes at their own options, scored by W₁ and KL to the truth and by the modes that they find."""
    if data.truth is None or data.truth.modes is None or data.dims not in POINTS:
        raise ConfigError(f"lines needs a mixture of known density, such as line, ring or grid; got {data.name!r}")
    chosen = tuple(name for name in RECIPES if _fits(name, data)) if models == (ALL,) else tuple(dict.fromkeys(models))
    arms = budget_arms(chosen, tuple(sorted(set(steps))), batch_size, None if rows == ALL else int(rows))
    longest = [max((arm for arm in arms if arm.line == name), key=lambda arm: arm.at or 0).name for name in chosen]
    columns = ("w1", "kl", *(("histogram_kl",) if data.dims == 1 else ()), "modes", "high_quality")
    return Plan(arms, _Truth, columns, _findings, _figures, partial(_anchors), longest)


def _fits(name: str, data: Dataset) -> bool:
    """Whether a recipe takes the data and samples."""
    try:
        some = torch.arange(min(len(data.train), 500))
        part = Dataset(data.name, data.train.select(some), data.valid.select(some), data.test, data.shape, data.space)
        return isinstance(recipe(name)(part, batch_size=64).model, Sampler)
    except ConfigError:
        return False


class _Truth:
    """Scores models against the truth of a toy data set.

    Args:
        data, part: the data set; its test rows stand for the truth in W₁, the same for all models.
        seed: of all draws.
    """

    def __init__(self, data: Dataset, part: Dataset, seed: int) -> None:
        self.data, self.seed, self.n = data, seed, POINTS[data.dims]
        self.judged = data.test.select(torch.arange(JUDGED))
        self.test = data.space.to_user(data.test.x[: self.n])
        self.cells = data.space.to_user(data.valid.x[:])

    def __call__(self, model: Any, data: Dataset) -> Entry:
        """The scores of a trained model."""
        samples = data.space.to_user(draw_samples(model, data, self.n, self.seed))
        scores = self.of_samples(samples)
        known = log_likelihood(model, self.judged, self.seed)
        if known is not None:
            scores["kl"] = self._divergence(known)
        return {"scores": scores, "parameters": parameter_count(model)}

    def of_samples(self, samples: Tensor) -> dict[str, Score]:
        """The scores of samples in the user's units."""
        truth: Any = self.data.truth
        bad = int((~samples.isfinite()).any(1).sum())
        if bad:
            raise ConfigError(f"{bad} of {len(samples)} samples are not finite")
        distance = Score(w1_exact(samples, self.test), 0.0, "estimate", "data", {"n": self.n})
        scores = {"w1": distance} | mode_scores(samples, truth.modes, truth.std)
        if self.data.dims == 1:
            scores["histogram_kl"] = histogram_divergence(samples, self.cells)
        return scores

    def _divergence(self, known: Score) -> Score:
        """KL(p ‖ q) from the log-likelihood of test data; a lower bound of that is an upper bound of this."""
        assert known.values is not None
        truth: Any = self.data.truth
        x = self.data.space.to_user(self.judged.x[:]).double()
        values = truth.log_prob(x) - (known.values.to(x) + self.data.space.log_det)
        kind = {"lower_bound": "upper_bound", "upper_bound": "lower_bound"}.get(known.kind, known.kind)
        return mean_score(values, kind)


def histogram_divergence(samples: Tensor, real: Tensor) -> Score:
    """KL(p ‖ q) of a histogram with cells of equal mass under p, with half a sample added to each cell.

    A histogram cannot have a larger divergence than the densities, but the noise of its counts adds to it.

    Args:
        samples: of q, ``(n, 1)``.
        real: of p, ``(m, 1)``, many more.
    """
    edges = real[:, 0].double().quantile(torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1].to(real.device))
    counts = torch.bincount(torch.bucketize(samples[:, 0].double(), edges), minlength=BINS).double()
    share = (counts + 0.5) / (len(samples) + 0.5 * BINS)
    return Score(float(-(share * BINS).log().mean()), 0.0, "estimate", "nats", {"n": len(samples), "cells": BINS})


def _anchors(scorers: Mapping[int, _Truth]) -> dict[str, Any]:
    """Draws from the truth in place of samples: what a perfect model scores."""
    results: list[Entry] = []
    for seed, scorer in scorers.items():
        truth: Any = scorer.data.truth
        samples = truth.sample(scorer.n, generator(seed, "lines", "truth")).double()
        results.append({"scores": scorer.of_samples(samples)})
    return {"truth": {"about": "draws from the truth: a perfect model"} | aggregate_seeds(results)}


@dataclass(frozen=True)
class _Contest:
    """A game at its largest budget against a flow that trained as long: the mean difference of W₁, and its p-value."""

    game: str
    flow: str
    difference: float
    p_value: float


def contests(card: Card) -> list[_Contest]:
    """Every game at its largest budget against every flow in the same time.

    The W₁ of a flow at a time between its budgets is interpolated, for each seed, on logarithmic axes; after its last
    budget it is that of the last. The difference is positive where the flow is nearer; p-values are Holm's over all.
    """
    arms = {name: arm for name, arm in card["arms"].items() if "w1" in arm["scores"]}
    lines: dict[str, list[str]] = {}
    for name in sorted(arms, key=lambda name: arms[name]["at"]):
        lines.setdefault(arms[name]["line"], []).append(name)
    found = []
    for line, names in lines.items():
        if RECIPES[arms[names[-1]]["recipe"]].family != "implicit":
            continue
        for flow in (flow for flow in FLOWS if flow in lines and len(card["seeds"]) > 1):
            seconds = [arms[name]["train_seconds"] for name in lines[flow]]
            time = arms[names[-1]]["train_seconds"]
            if time >= seconds[0]:
                curves = np.log([card["by_seed"][name]["w1"] for name in lines[flow]]).T
                there = [float(np.exp(np.interp(np.log(time), np.log(seconds), curve))) for curve in curves]
                values = [a - b for a, b in zip(card["by_seed"][names[-1]]["w1"], there, strict=True)]
                difference, _, p_value = mean_of_differences(values)
                found.append((line, flow, difference, p_value))
    adjusted = holm([p_value for *_, p_value in found])
    return [_Contest(*pair[:3], p_value) for pair, p_value in zip(found, adjusted, strict=True)]


def _findings(card: Card) -> list[str]:
    pairs = contests(card)
    if not pairs:
        return [
            "No game and flow to compare at equal time: it needs both, a game that is no faster, and several seeds."
        ]
    sure = [pair for pair in pairs if pair.p_value <= SIGNIFICANT]
    games, flows = ([p for p in sure if p.difference < 0], [p for p in sure if p.difference > 0])
    counts = (
        f"Of {len(pairs)} pairs of a game and a flow that trained as long, the flow is nearer in W₁ in {len(flows)}, "
        f"the game in {len(games)}, and {len(pairs) - len(sure)} do not differ significantly (5% over all pairs)."
    )
    answer = "At equal time no game is nearer to the truth than a flow."
    if games:
        named = "; ".join(f"{p.game} than {p.flow} by {format_number(-p.difference)}" for p in games)
        answer = f"At equal time a game is nearer to the truth than a flow: {named}."
    kinds = {"game": {p.game for p in pairs}, "flow": {p.flow for p in pairs}}
    w1 = {name: arm["scores"]["w1"]["value"] for name, arm in card["arms"].items() if "w1" in arm["scores"]}
    best = {
        kind: min((name for name in w1 if card["arms"][name]["line"] in of), key=lambda name: w1[name])
        for kind, of in kinds.items()
    }
    nearest = ", ".join(f"the nearest {kind} is {name} with {format_number(w1[name])}" for kind, name in best.items())
    floor = format_number(card["anchors"]["truth"]["scores"]["w1"]["value"])
    return [answer, counts, f"W₁: {nearest}; draws from the truth have {floor}."]


def _figures(card: Card) -> dict[str, str]:
    floor = card["anchors"]["truth"]["scores"]["w1"]["value"]
    distance = {"y": "W₁ to the truth", "log_y": True, "level": floor}
    return {
        "Wasserstein-1 distance against steps; dotted: draws from the truth": lines_svg(
            score_lines(card, "w1"), "steps", **distance
        ),
        "Wasserstein-1 distance against seconds of training": lines_svg(
            score_lines(card, "w1", "train_seconds"), "seconds", **distance
        ),
        "Divergence from the truth": lines_svg(score_lines(card, "kl"), "steps", "KL, nats", log_y=True),
    }
