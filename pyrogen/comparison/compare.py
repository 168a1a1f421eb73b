"""The main job: train several models on one data set under one budget, and write one scorecard."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.data.dataset import Dataset
from pyrogen.data.datasets import load
from pyrogen.errors import ConfigError
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.files import write_whole
from pyrogen.measure.evaluate import anchor_scores, draw, evaluate, sample_scores
from pyrogen.protocols import Density, Pair, Sampler, Score
from pyrogen.random import derive, scoped_seed
from pyrogen.recipes import IMPLICIT, describe
from pyrogen.report.html import write_report
from pyrogen.training.metric_averager import Diverged
from pyrogen.training.run import Run, free_path
from pyrogen.training.trainer import Watcher, build, configure, pictures, train

DEFAULT_MODELS = ("gaussian", "vae", "cvae", "gan", "dcgan", "wgan")
DEFAULT_STEPS = 3000
BATCH_SIZE = 128
SHOWN = 64
"""How many samples of each model the report shows."""

Show = Callable[[str, int], AbstractContextManager[Watcher | None]]
"""Makes what watches the training of one model: ``show(title, steps)``."""


def compare(
    models: Sequence[str] | None = None,
    data: str = "digits",
    *,
    own: Mapping[str, Sampler] | None = None,
    show: Show | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train ``models`` by their recipes, measure them beside models of ``own``, and write the report.

    Args:
        models: names of recipes; ``DEFAULT_MODELS`` by default, none if ``own`` is given.
        data: the name or path of a data set.
        own: trained models or ``SVI`` steps, by the name they shall have; measured as they are.
        show: makes the progress display of each training.
        settings: as for ``begin``: ``out``, ``steps``, ``batch_size``, ``seeds``, ``seed``, ``data_root``, ``device``.

    Returns:
        The scorecard, as in ``scores.json``, with ``folder``, where it and ``report.html`` are.

    Raises:
        UserError: before the first step, for whatever in the request cannot be used.
    """
    chosen = () if models is None and own else models
    twice = sorted(set(own or ()) & set(DEFAULT_MODELS if chosen is None else chosen))
    if twice:
        raise ConfigError(f"{twice[0]!r} is the name of a recipe and of a model of your own: rename yours")
    return compare_in(begin(chosen, data, own=tuple(own or ()), **settings), own=own, show=show)


def begin(
    models: Sequence[str] | None = None,
    data: str = "digits",
    *,
    out: str | Path | None = None,
    steps: int = DEFAULT_STEPS,
    batch_size: int = BATCH_SIZE,
    seeds: int = 1,
    seed: int = 0,
    data_root: str | None = None,
    device: str = "auto",
    own: Sequence[str] = (),
) -> Run:
    """Check a request for a comparison and make its folder; nothing is trained.

    Args:
        models: names of recipes; ``DEFAULT_MODELS`` by default.
        data: the name or path of a data set.
        out: the folder for ``report.html``, ``scores.json`` and one run folder for each training; a free
            one under ``runs`` by default.
        steps: optimiser steps of each model.
        batch_size: rows of each step.
        seeds: how many times to train each model, each time on the split of another seed.
        seed: the first seed.
        data_root: where named data sets are kept.
        device: ``auto``, ``cpu`` or ``cuda``.
        own: the names of trained models that ``compare_in`` will be given.

    Raises:
        UserError: for whatever in the request cannot be used.
    """
    config: dict[str, Any] = {
        "models": list(dict.fromkeys(DEFAULT_MODELS if models is None else models)),
        "data": data,
        "steps": steps,
        "batch_size": batch_size,
        "seeds": seeds,
        "seed": seed,
        "data_root": data_root,
        "device": device,
        "own": list(own),
    }
    load(data, data_root, seed)
    for name in config["models"]:
        build(_config(config, name, seed))  # a mistake in the last model shall not cost the time of the first
    return Run.create(out if out is not None else free_path(Path("runs") / f"compare-{Path(data).stem}"), config)


def compare_in(
    run: Run,
    *,
    own: Mapping[str, Sampler] | None = None,
    show: Show | None = None,
) -> dict[str, Any]:
    """Do what ``run.config`` says, or what of it is left to do after an interruption."""
    config = run.config
    missing = set(config.get("own", ())) - set(own or ())
    if missing:
        raise ConfigError(f"{sorted(missing)[0]!r} is a model of your own, which no folder keeps: call compare(own=…)")
    show = show or (lambda title, steps: nullcontext())
    seeds = range(config["seed"], config["seed"] + config["seeds"])
    sets = {s: load(config["data"], config.get("data_root"), s) for s in seeds}
    shown: dict[str, Tensor] = {}
    curves: dict[str, list[dict[str, float]]] = {}
    entries: dict[str, dict[str, Any]] = {}
    options = {}
    with run.lock():
        # First what is trained already: a mistake in it shall not cost the time of the others.
        for name, model in (own or {}).items():
            data = sets[config["seed"]].to(_device_of(model))
            entries[name] = {"family": family(model), "about": "a model of your own"} | _over_seeds(
                [_measure(model, data, config["seed"])]
            )
            shown[name] = pictures(model, data, SHOWN, config["seed"])
        for name in config["models"]:
            results = []
            for s in seeds:
                path = run.path / (name if config["seeds"] == 1 else f"{name}-seed{s}")
                sub = Run.open(path) if path.exists() else Run.create(path, _config(config, name, s))
                options[name] = sub.config["options"]
                with show(name if config["seeds"] == 1 else f"{name}, seed {s}", config["steps"]) as watch:
                    try:
                        trained = train(sub, watch)
                    except Diverged as error:
                        results.append({"error": str(error)})
                        continue
                results.append(_measure(trained.model, trained.data, s) | {"train_seconds": _seconds(sub)})
                if isinstance(trained.model, Sampler):
                    shown.setdefault(name, pictures(trained.model, trained.data, SHOWN, s))
                curves.setdefault(name, sub.metrics())
            entries[name] = {"family": _family_of(name), "about": describe(name)} | _over_seeds(results)
        first = sets[config["seed"]]
        card = {
            "data": config["data"],
            "space": str(first.space),
            "split": {part: len(getattr(first, part)) for part in ("train", "valid", "test")},
            "budget": {"steps": config["steps"], "batch_size": config["batch_size"], "seeds": list(seeds)},
            "models": entries,
            "anchors": _anchors(first, config["seed"]),
        }
        write_whole(run.path / "scores.json", json.dumps(card, indent=1).encode())
        real = first.space.to_image(first.test.tensors()[0][:SHOWN])
        write_report(run.path / "report.html", card, shown, real, curves, {**config, "options": options})
    return {**card, "folder": str(run.path)}


def family(model: Sampler) -> str:
    """``explicit`` for a model with a likelihood, ``implicit`` for one that only samples."""
    return "explicit" if isinstance(model, Density | Pair) else "implicit"


def _family_of(name: str) -> str:
    return "implicit" if name in IMPLICIT else "explicit"


def _config(config: Mapping[str, Any], name: str, seed: int) -> dict[str, Any]:
    return configure(
        name,
        config["data"],
        data_root=config.get("data_root"),
        seed=seed,
        device=config["device"],
        options={"steps": config["steps"], "batch_size": config["batch_size"]},
    )


def _measure(model: Any, data: Dataset, seed: int) -> dict[str, Any]:
    seconds = None
    if isinstance(model, Sampler):
        began = time.perf_counter()
        draw(model, data, 1000, seed)
        seconds = round(time.perf_counter() - began, 4)
    return {
        "scores": {name: score.as_dict() for name, score in evaluate(model, data, seed=seed).items()},
        "sample_seconds": seconds,
        "parameters": _parameters(model),
    }


def _device_of(model: Any) -> torch.device:
    """Where a model of the user's own computes: there the data must be."""
    weights: Any = model.parameters() if isinstance(model, nn.Module) else getattr(model, "weights", dict)().values()
    return next((t.device for t in weights), torch.device("cpu"))


def _parameters(model: Any) -> int:
    if isinstance(model, nn.Module):
        generator = getattr(model, "generator", None)  # a critic is a training aid, no part of the model
        return sum(p.numel() for p in (generator if isinstance(generator, nn.Module) else model).parameters())
    weights: dict[str, Tensor] = getattr(model, "weights", dict)()
    return sum(p.numel() for p in weights.values() if p.requires_grad)


def _seconds(run: Run) -> float:
    rows = run.metrics()
    return float(rows[-1]["seconds"]) if rows else 0.0


def _over_seeds(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry of several trainings: the mean over seeds, with its standard error."""
    failed = [r["error"] for r in results if "error" in r]
    if failed:
        return {"error": failed[0], "scores": {}}
    entry = dict(results[0])
    if len(results) > 1:
        scores = {}
        for name, score in entry["scores"].items():
            values = [r["scores"][name]["value"] for r in results]
            scores[name] = {
                **score,
                "value": mean(values),
                "stderr": stdev(values) / len(values) ** 0.5,
                "seeds": len(values),
            }
        entry["scores"] = scores
        entry["train_seconds"] = round(mean(r["train_seconds"] for r in results), 3)
    return entry


def _anchors(data: Dataset, seed: int) -> dict[str, Any]:
    x, *_ = data.train.tensors(seed)
    covariance = "full" if len(x) > 2 * data.dims else "diagonal"  # a full one of few data is singular
    floor = Gaussian.from_data(x, covariance, jitter=1e-6)
    scores: dict[str, Score] = {}
    if data.space.probability == "density":
        scores = evaluate(floor, data, seed=seed)
    else:
        with scoped_seed(derive(seed, "anchor")), torch.no_grad():
            scores = sample_scores(floor.sample(1000), data, seed)
    return {
        "train": {
            "about": "training data in place of samples: the best possible value",
            "scores": {name: s.as_dict() for name, s in anchor_scores(data, seed).items()},
        },
        "gaussian": {
            "about": f"the Gaussian of {covariance} covariance in closed form: the floor",
            "scores": {name: s.as_dict() for name, s in scores.items()},
        },
    }
