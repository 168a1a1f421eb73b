"""The scores of one model in a comparison, and their mean over seeds."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrogen.data.dataset import Dataset
from pyrogen.measure.annealing import Annealing, common_noise
from pyrogen.measure.evaluate import evaluate
from pyrogen.measure.features import Reference
from pyrogen.measure.intervals import data_variance, over_seeds
from pyrogen.measure.samples import N_SAMPLES, draw_samples
from pyrogen.measure.verdict import FAULTS, Judge
from pyrogen.measure.verdict.judge import FEWEST
from pyrogen.protocols import Density, Pair, Sampler
from pyrogen.recipes.registry import Family


class Scorer:
    """Scores models on one data set; what depends on the data alone is computed once, when it is first needed.

    Args:
        data: the data set.
        seed: of every random draw.
        spaces: feature spaces in which samples are scored; in those of networks, copies are sought too.
        annealing: settings of annealed importance sampling; ``None`` for none.
    """

    def __init__(
        self, data: Dataset, seed: int, spaces: Sequence[str] = (), annealing: Annealing | None = None
    ) -> None:
        self.data, self.seed, self.spaces, self._annealing = data, seed, tuple(spaces), annealing

    @cached_property
    def annealing(self) -> Annealing | None:
        """The settings of annealed importance sampling, with the noise that all models have in common."""
        if self._annealing is None or self.data.space.probability == "mass":
            return self._annealing
        return replace(self._annealing, smoothed=common_noise(self.data, self.seed))

    @cached_property
    def references(self) -> list[Reference]:
        """The data in each feature space."""
        return [Reference(self.data, space, self.seed) for space in self.spaces]

    @cached_property
    def judge(self) -> Judge | None:
        """Gives the verdict; ``None`` for fewer data than it needs."""
        networks = {one.name: one.embed for one in self.references if one.bins is None}
        data = self.data
        enough = min(len(data.train), len(data.valid) + len(data.test)) >= FEWEST
        return Judge.of(data, features=networks, seed=self.seed) if enough else None

    def __call__(self, model: Any, data: Dataset | None = None) -> dict[str, Any]:
        """The scores of a model, the verdict on its samples, seconds for 1,000 of them, and its number of parameters.

        Args:
            model: an object with methods of ``pyrogen.protocols``.
            data: the data set in the form that the model was trained on, with other side information or on another
                device.
        """
        data = data or self.data
        scores = evaluate(model, data, seed=self.seed, spaces=self.references, annealing=self.annealing)
        seconds, verdict = None, None
        if isinstance(model, Sampler):
            began = time.perf_counter()
            samples = draw_samples(model, data, N_SAMPLES, self.seed)
            seconds = round(time.perf_counter() - began, 4)
            verdict = self.verdict(samples)
        return {"scores": scores, "verdict": verdict, "sample_seconds": seconds, "parameters": parameter_count(model)}

    def verdict(self, samples: Tensor) -> dict[str, Any] | None:
        """The verdict on samples in model coordinates; ``None`` for fewer data than it needs."""
        return None if self.judge is None else self.judge(self.data.space.to_comparable(samples)).as_dict()


def family(model: Any) -> Family:
    """``explicit`` for a model with a likelihood, ``implicit`` if it only samples, otherwise ``reconstruction``."""
    if isinstance(model, Density | Pair):
        return "explicit"
    return "implicit" if isinstance(model, Sampler) else "reconstruction"


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


def common_test_rows(sets: Sequence[Dataset]) -> float:
    """The share of test rows that two seeds have in common, the mean over all pairs of seeds; 0 for a single one."""
    keys = [data.test.row_keys for data in sets]
    shares = [float(np.isin(one, other).mean()) for one, other in combinations(keys, 2)]
    return mean(shares) if shares else 0.0


def aggregate_seeds(results: list[dict[str, Any]], overlap: float = 0.0) -> dict[str, Any]:
    """Aggregate the entries of several seeds: the mean of each score, its standard error and 95% interval.

    Args:
        results: the entries.
        overlap: the share of test rows that two seeds have in common, by which ``over_seeds`` adds the error of the
            data.
    """
    failed = [r["error"] for r in results if "error" in r]
    if failed:
        return {"error": failed[0], "scores": {}}
    entry = dict(results[0])
    entry["scores"] = {name: score.as_dict() for name, score in entry["scores"].items()}
    if len(results) > 1:
        for name, score in entry["scores"].items():
            each = [r["scores"][name] for r in results]
            shared = overlap * mean(data_variance(one) for one in each)
            centre, error, interval = over_seeds([one.value for one in each], score["unit"], shared)
            score |= {"value": centre, "stderr": error, "interval": list(interval), "seeds": len(each)}
            score |= {"data_error": shared**0.5} if shared else {}
        if "weights" in entry:
            entry["weights"] = entry["weights"] | {"step": [r["weights"]["step"] for r in results]}
        if "steps" in entry:
            steps = [r["steps"] for r in results]
            entry["steps"] = steps if len({*steps}) > 1 else steps[0]
        if "train_seconds" in entry:
            entry["train_seconds"] = round(mean(r["train_seconds"] for r in results), 3)
        if entry.get("verdict"):
            entry["verdict"] = _aggregate_verdicts([r["verdict"] for r in results])
    return entry


def _aggregate_verdicts(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """The faults found on any seed, and on how many; the p-values are the least, corrected for the number of seeds."""
    n = len(verdicts)
    counts = {fault: sum(fault in verdict["found"] for verdict in verdicts) for fault in FAULTS}
    found = [fault for fault in FAULTS if counts[fault]]
    sentence = "; ".join(f"{fault} (on {counts[fault]} of {n} seeds)" for fault in found)
    p_values = {fault: min(1.0, n * min(verdict["p_values"][fault] for verdict in verdicts)) for fault in FAULTS}
    none = f"on each of {n} seeds, {verdicts[0]['sentence']}"
    return verdicts[0] | {"found": found, "sentence": sentence or none, "p_values": p_values}
