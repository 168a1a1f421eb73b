"""Train several models on one data set with the same budget, and write one scorecard."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pyrogen.comparison.anchors import anchors
from pyrogen.comparison.config import DEFAULT_MODELS, ComparisonConfig, prepare
from pyrogen.comparison.page import data_pictures, model_pictures
from pyrogen.comparison.paired import paired_differences
from pyrogen.comparison.scoring import Scorer, aggregate_seeds, device_of, family
from pyrogen.errors import ConfigError, DataError, Diverged, OutOfMemory
from pyrogen.files import write_whole
from pyrogen.protocols import Sampler, Score
from pyrogen.recipes import recipe
from pyrogen.report.page import write_report
from pyrogen.report.pictures import Pictures
from pyrogen.training.device import pick_device
from pyrogen.training.resume import with_data
from pyrogen.training.run import CONFIG, Run
from pyrogen.training.trainer import Watcher, build, train

Own = Mapping[str, Sampler | Sequence[Sampler]]
"""A user's trained models or steps by name: one for all seeds, or one for each."""
Show = Callable[[str, int], AbstractContextManager[Watcher | None]]
"""Returns a context manager for the progress display of one training run: ``show(title, steps)``."""


def compare(
    models: Sequence[str] | None = None,
    data: Any = "digits",
    *,
    own: Own | None = None,
    show: Show | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train ``models`` by their recipes, evaluate them and the models in ``own``, and write the report.

    Args:
        models: names of recipes; ``DEFAULT_MODELS`` by default, none if ``own`` is given.
        data: the name or path of a data set, or data in memory as for ``load``: they are stored in the folder, so that
            its runs can be continued, sampled and evaluated later.
        own: trained models or ``SVI`` steps by name; they are evaluated without training, on the test data of every
            seed. With several seeds, a model of each split in their order: ``{"mine": [model0, model1]}``; one model
            for all where no split has test data that it was trained on.
        show: the progress display of each training run.
        settings: as for ``prepare``: ``out``, ``steps``, ``batch_size``, ``seeds``, ``features``, ``seed``,
            ``data_root``, ``device``, ``target``, ``categorical``, ``drop_constant``, ``drop_missing``, ``size``.

    Returns:
        The scorecard, as in ``scores.json``, and ``folder``, the folder of ``scores.json`` and ``report.html``.

    Raises:
        UserError: before training starts, if a setting, a model or the data are invalid, or if an own model was
            trained on test data.
    """
    chosen = () if models is None and own else models
    duplicates = sorted(set(own or ()) & set(DEFAULT_MODELS if chosen is None else chosen))
    if duplicates:
        raise ConfigError(f"own model {duplicates[0]!r} has the name of a recipe: rename it")
    return run_comparison(prepare(chosen, data, own=tuple(own or ()), **settings), own=own, show=show)


def run_comparison(
    run: Run[ComparisonConfig], *, own: Own | None = None, show: Show | None = None, changed_data: bool = False
) -> dict[str, Any]:
    """Run the comparison that ``run.config`` describes, or continue it after an interruption.

    Args:
        run: its folder.
        own, show: as for ``compare``.
        changed_data: go on although the data are not those that the comparison began with.

    Raises:
        DataError: if the data have changed.
    """
    config = run.config
    missing = set(config.own) - set(own or ())
    if missing:
        raise ConfigError(f"own model {sorted(missing)[0]!r} is not stored in the folder: pass it with compare(own=…)")
    sets = {seed: config.load_data(seed) for seed in config.all_seeds}
    results = _Results()
    with run.lock():
        run.update(with_data(run, config, sets[config.seed], changed_data))
        device = pick_device(config.device)
        scorers = {seed: Scorer(data.to(device), seed, config.spaces(data)) for seed, data in sets.items()}
        # Own models first, so that an error in one is raised before any training.
        for name, model in (own or {}).items():
            results.add_own(name, model, scorers)
        for name in config.models:
            results.train(run, name, scorers, show or (lambda title, steps: nullcontext()), changed_data)
        return _write(run, results, scorers)


class _Results:
    """The results of a comparison by model: scorecard entries, pictures, curves and options."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.measured: dict[str, list[dict[str, Score]]] = {}
        self.shown: dict[str, Pictures] = {}
        self.curves: dict[str, list[dict[str, float]]] = {}
        self.options: dict[str, Any] = {}

    def add_own(self, name: str, own: Any, scorers: Mapping[int, Scorer]) -> None:
        """Evaluate a user's trained model, or one for each seed, on the test data of every seed."""
        n = len(scorers)
        models = own if isinstance(own, list | tuple) else [own] * n
        if len(models) != n:
            raise ConfigError(f"own model {name!r}: expected one model for each of {n} seeds, got {len(models)}")
        results = []
        for (seed, scorer), model in zip(scorers.items(), models, strict=True):
            moved = scorer.data.to(device_of(model))
            try:
                results.append(scorer(model, moved))
            except DataError as error:
                each = "" if n == 1 else f"; own={{{name!r}: […]}} takes a model for each seed"
                raise DataError(f"own model {name!r}, seed {seed}: {error}{each}") from error
            if name not in self.shown:
                self.shown[name] = model_pictures(model, moved, seed)
        self._add(name, {"family": family(models[0]), "about": "user's own model"}, results)

    def train(
        self, run: Run[ComparisonConfig], name: str, scorers: Mapping[int, Scorer], show: Show, changed_data: bool
    ) -> None:
        """Train a recipe once per seed, on the data set of the seed, and evaluate each model."""
        config = run.config
        results: list[dict[str, Any]] = []
        for seed in config.all_seeds:
            single = config.seeds == 1
            path = run.path / (name if single else f"{name}-seed{seed}")
            made = (path / CONFIG).exists()  # else a process died before it had made the run
            sub = Run.open(path) if made else Run.create(path, config.run_config(name, seed))
            sub.update(sub.config.model_copy(update={"data": config.data, "data_root": config.data_root}))
            self.options[name] = sub.config.options
            with show(name if single else f"{name}, seed {seed}", config.steps) as watch:
                try:
                    setup = build(sub.config, scorers[seed].data)
                    trained = train(sub, watch, setup, changed_data=changed_data)
                except (Diverged, OutOfMemory) as error:
                    results.append({"error": str(error)})
                    continue
            rows = sub.metrics()
            seconds = float(rows[-1].get("seconds", 0)) if rows else 0.0
            scored = scorers[seed](trained.model, trained.data)
            results.append(scored | {"train_seconds": seconds, "weights": dict(trained.weights)})
            if isinstance(trained.model, Sampler) and name not in self.shown:
                self.shown[name] = model_pictures(trained.model, trained.data, seed)
            self.curves.setdefault(name, rows)
        entry = recipe(name)
        self._add(name, {"family": entry.family, "about": entry.title}, results)

    def _add(self, name: str, about: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """Add the scores of each seed, and their aggregate."""
        self.entries[name] = about | aggregate_seeds(results)
        if "error" not in self.entries[name]:
            self.measured[name] = [result["scores"] for result in results]


def _write(run: Run[ComparisonConfig], results: _Results, scorers: Mapping[int, Scorer]) -> dict[str, Any]:
    """Write ``scores.json`` and ``report.html``; return the scorecard."""
    config, data = run.config, scorers[run.config.seed].data
    card = {
        "data": config.data,
        "space": str(data.space),
        "split": {part: len(getattr(data, part)) for part in ("train", "valid", "test")},
        "budget": {"steps": config.steps, "batch_size": config.batch_size, "seeds": list(config.all_seeds)},
        "models": results.entries,
        "comparisons": paired_differences(results.measured),
        "anchors": anchors(scorers),
    }
    write_whole(run.path / "scores.json", json.dumps(card, indent=1).encode())
    settings = config.model_dump() | {"options": results.options}
    path, columns = run.path / "report.html", data.space.columns
    write_report(path, card, results.shown, data_pictures(data), results.curves, settings, columns)
    return {**card, "folder": str(run.path)}
