"""The scores of one model in a comparison, and their mean over seeds."""

import time
from math import inf
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.data.dataset import Dataset
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.samples import draw_samples
from pyrogen.protocols import Density, Pair, Sampler
from pyrogen.recipes.registry import Family

BOUNDS = {"share": (0.0, 1.0), "accuracy": (0.0, 1.0), "fid": (0.0, inf), "density": (0.0, inf)}
"""The values that a score of a unit can have, which its interval does not leave."""


def family(model: Any) -> Family:
    """``explicit`` for a model with a likelihood, ``implicit`` if it only samples, otherwise ``reconstruction``."""
    if isinstance(model, Density | Pair):
        return "explicit"
    return "implicit" if isinstance(model, Sampler) else "reconstruction"


def score_model(model: Any, data: Dataset, seed: int) -> dict[str, Any]:
    """The scores of a model by name, the time to draw 1,000 samples in seconds, and its number of parameters."""
    seconds = None
    if isinstance(model, Sampler):
        began = time.perf_counter()
        draw_samples(model, data, 1000, seed)
        seconds = round(time.perf_counter() - began, 4)
    return {
        "scores": evaluate(model, data, seed=seed),
        "sample_seconds": seconds,
        "parameters": parameter_count(model),
    }


def device_of(model: Any) -> torch.device:
    """The device of a user's model, or the CPU if it has no parameters."""
    weights: Any = model.parameters() if isinstance(model, nn.Module) else getattr(model, "weights", dict)().values()
    return next((t.device for t in weights), torch.device("cpu"))


def parameter_count(model: Any) -> int:
    """The number of parameters; for an adversarially trained model, of the generator."""
    if isinstance(model, nn.Module):
        generator = getattr(model, "generator", None)  # the critic is used in training only
        return sum(p.numel() for p in (generator if isinstance(generator, nn.Module) else model).parameters())
    weights: dict[str, Tensor] = getattr(model, "weights", dict)()
    return sum(p.numel() for p in weights.values() if p.requires_grad)


def aggregate_seeds(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Aggregate the entries of several seeds: the mean of each score, its standard error and 95% interval.

    The interval is that of Student's t distribution, as the seeds are few.
    """
    failed = [r["error"] for r in results if "error" in r]
    if failed:
        return {"error": failed[0], "scores": {}}
    entry = dict(results[0])
    entry["scores"] = {name: score.as_dict() for name, score in entry["scores"].items()}
    if len(results) > 1:
        from scipy.stats import t

        quantile = float(t.ppf(0.975, len(results) - 1))
        for name, score in entry["scores"].items():
            values = [r["scores"][name].value for r in results]
            centre, error = mean(values), stdev(values) / len(values) ** 0.5
            low, high = BOUNDS.get(score["unit"], (-inf, inf))
            interval = [max(centre - quantile * error, low), min(centre + quantile * error, high)]
            score |= {"value": centre, "stderr": error, "interval": interval, "seeds": len(values)}
        entry["train_seconds"] = round(mean(r["train_seconds"] for r in results), 3)
    return entry
