"""Train several models on one data set with the same budget, and write one scorecard."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from pyrogen.comparison.anchors import anchors
from pyrogen.comparison.config import DEFAULT_MODELS, ComparisonConfig, prepare
from pyrogen.comparison.paired import paired_differences
from pyrogen.comparison.scoring import aggregate_seeds, device_of, family, score_model
from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole
from pyrogen.protocols import Sampler, Score
from pyrogen.recipes import recipe
from pyrogen.report.html import write_report
from pyrogen.report.pictures import picture_size, pictures, real_pictures
from pyrogen.training.metric_averager import Diverged
from pyrogen.training.run import Run
from pyrogen.training.trainer import Watcher, build, train

Show = Callable[[str, int], AbstractContextManager[Watcher | None]]
"""Returns a context manager for the progress display of one training run: ``show(title, steps)``."""


def compare(
    models: Sequence[str] | None = None,
    data: Any = "digits",
    *,
    own: Mapping[str, Sampler] | None = None,
    show: Show | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train ``models`` by their recipes, evaluate them and the models in ``own``, and write the report.

    Args:
        models: names of recipes; ``DEFAULT_MODELS`` by default, none if ``own`` is given.
        data: the name or path of a data set, or data in memory as for ``load``: they are stored in the folder, so that
            its runs can be continued, sampled and evaluated later.
        own: trained models or ``SVI`` steps by name; they are evaluated without training.
        show: the progress display of each training run.
        settings: as for ``prepare``: ``out``, ``steps``, ``batch_size``, ``seeds``, ``seed``, ``data_root``,
            ``device``, ``target``, ``categorical``, ``drop_constant``, ``drop_missing``, ``size``.

    Returns:
        The scorecard, as in ``scores.json``, and ``folder``, the folder of ``scores.json`` and ``report.html``.

    Raises:
        UserError: before training starts, if a setting, a model or the data are invalid.
    """
    chosen = () if models is None and own else models
    duplicates = sorted(set(own or ()) & set(DEFAULT_MODELS if chosen is None else chosen))
    if duplicates:
        raise ConfigError(f"own model {duplicates[0]!r} has the name of a recipe: rename it")
    return run_comparison(prepare(chosen, data, own=tuple(own or ()), **settings), own=own, show=show)


def run_comparison(
    run: Run[ComparisonConfig], *, own: Mapping[str, Sampler] | None = None, show: Show | None = None
) -> dict[str, Any]:
    """Run the comparison that ``run.config`` describes, or continue it after an interruption."""
    config = run.config
    missing = set(config.own) - set(own or ())
    if missing:
        raise ConfigError(f"own model {sorted(missing)[0]!r} is not stored in the folder: pass it with compare(own=…)")
    sets = {seed: config.load_data(seed) for seed in config.all_seeds}
    results = _Results()
    with run.lock():
        # Own models first, so that an error in one is raised before any training.
        for name, model in (own or {}).items():
            results.add_own(name, model, sets[config.seed], config.seed)
        for name in config.models:
            results.train(run, name, sets, show or (lambda title, steps: nullcontext()))
        return _write(run, results, sets[config.seed])


class _Results:
    """The results of a comparison by model: scorecard entries, pictures, curves and options."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.measured: dict[str, list[dict[str, Score]]] = {}
        self.shown: dict[str, Tensor] = {}
        self.curves: dict[str, list[dict[str, float]]] = {}
        self.options: dict[str, Any] = {}

    def add_own(self, name: str, model: Any, data: Dataset, seed: int) -> None:
        """Evaluate a user's trained model."""
        data = data.to(device_of(model))
        self._add(name, {"family": family(model), "about": "user's own model"}, [score_model(model, data, seed)])
        self.shown[name] = pictures(model, data, picture_size(data), seed)

    def train(self, run: Run[ComparisonConfig], name: str, sets: Mapping[int, Dataset], show: Show) -> None:
        """Train a recipe once per seed, on the data set of the seed, and evaluate each model."""
        config = run.config
        results: list[dict[str, Any]] = []
        for seed in config.all_seeds:
            single = config.seeds == 1
            path = run.path / (name if single else f"{name}-seed{seed}")
            sub = Run.open(path) if path.exists() else Run.create(path, config.run_config(name, seed))
            self.options[name] = sub.config.options
            with show(name if single else f"{name}, seed {seed}", config.steps) as watch:
                try:
                    trained = train(sub, watch, build(sub.config, sets[seed]))
                except Diverged as error:
                    results.append({"error": str(error)})
                    continue
            rows = sub.metrics()
            seconds = float(rows[-1]["seconds"]) if rows else 0.0
            results.append(score_model(trained.model, trained.data, seed) | {"train_seconds": seconds})
            if isinstance(trained.model, Sampler):
                n = picture_size(trained.data)
                self.shown.setdefault(name, pictures(trained.model, trained.data, n, seed))
            self.curves.setdefault(name, rows)
        entry = recipe(name)
        self._add(name, {"family": entry.family, "about": entry.title}, results)

    def _add(self, name: str, about: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """Add the scores of each seed, and their aggregate."""
        self.entries[name] = about | aggregate_seeds(results)
        if "error" not in self.entries[name]:
            self.measured[name] = [result["scores"] for result in results]


def _write(run: Run[ComparisonConfig], results: _Results, data: Dataset) -> dict[str, Any]:
    """Write ``scores.json`` and ``report.html``; return the scorecard."""
    config = run.config
    card = {
        "data": config.data,
        "space": str(data.space),
        "split": {part: len(getattr(data, part)) for part in ("train", "valid", "test")},
        "budget": {"steps": config.steps, "batch_size": config.batch_size, "seeds": list(config.all_seeds)},
        "models": results.entries,
        "comparisons": paired_differences(results.measured),
        "anchors": anchors(data, config.seed),
    }
    write_whole(run.path / "scores.json", json.dumps(card, indent=1).encode())
    real = real_pictures(data, picture_size(data))
    settings = config.model_dump() | {"options": results.options}
    path, columns = run.path / "report.html", data.space.columns
    write_report(path, card, results.shown, real, results.curves, settings, columns)
    return {**card, "folder": str(run.path)}
