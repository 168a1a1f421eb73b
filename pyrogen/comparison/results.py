"""The results of a comparison: each model is trained, or found trained, and scored once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyrogen.comparison.config import ComparisonConfig
from pyrogen.comparison.models import ModelSpec
from pyrogen.comparison.page import model_pictures
from pyrogen.comparison.progress import Progress
from pyrogen.comparison.scoring import Scorer, aggregate_seeds, common_test_rows, device_of, family
from pyrogen.comparison.stored import data_key, load_entry, run_key, save_entry
from pyrogen.errors import ConfigError, DataError, Diverged, OutOfMemory
from pyrogen.protocols import Sampler, Score
from pyrogen.recipes import recipe
from pyrogen.report.pictures import Pictures
from pyrogen.training.config import RunConfig
from pyrogen.training.monitoring.logs import Log, logged
from pyrogen.training.run import CONFIG, Run
from pyrogen.training.trainer import Trained, build, train

Own = Mapping[str, Sampler | Sequence[Sampler]]
"""A user's trained models or steps by name: one for all seeds, or one for each."""


class Results:
    """The results of a comparison by model: scorecard entries, scores of each seed, pictures, curves and options.

    Args:
        run: the folder of the comparison.
        scorers: of each seed.
        progress: the display.
        changed_data: whether runs go on with changed data.
        log: where the rows of every run are logged too, as for ``logged``.
    """

    def __init__(
        self,
        run: Run[ComparisonConfig],
        scorers: Mapping[int, Scorer],
        progress: Progress,
        changed_data: bool = False,
        log: Log | None = None,
    ) -> None:
        self.run, self.scorers, self.progress, self.changed_data, self.log = run, scorers, progress, changed_data, log
        self.overlap = common_test_rows([scorer.data for scorer in scorers.values()])
        self._found: dict[tuple[str, int], dict[str, Any]] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self.measured: dict[str, list[dict[str, Score]]] = {}
        self.shown: dict[str, Pictures] = {}
        self.curves: dict[str, list[dict[str, float]]] = {}
        self.options: dict[str, Any] = {}

    def add_own(self, name: str, own: Any) -> None:
        """Evaluate a user's trained model, or one for each seed, on the test data of every seed."""
        n = len(self.scorers)
        models = own if isinstance(own, list | tuple) else [own] * n
        if len(models) != n:
            raise ConfigError(f"own model {name!r}: expected one model for each of {n} seeds, got {len(models)}")
        self.progress.begin(name)
        for (seed, scorer), model in zip(self.scorers.items(), models, strict=True):
            try:
                found = self._score(name, seed, model, scorer.data.to(device_of(model)))
            except DataError as error:
                each = "" if n == 1 else f"; own={{{name!r}: […]}} takes a model for each seed"
                raise DataError(f"own model {name!r}, seed {seed}: {error}{each}") from error
            self._found[name, seed] = found
            self.progress.done(0.0, found["seconds"])
        self._add(name, {"family": family(models[0]), "about": "user's own model"})

    def add(self, spec: ModelSpec) -> None:
        """Train a recipe once per seed, on the data set of the seed, or open a run folder; evaluate each model."""
        for seed in self.scorers:
            self.find(spec, seed)
        entry = recipe(spec.recipe or spec.opened.config.model)
        more = {} if spec.recipe else {"run": spec.given}
        self._add(spec.name, {"family": entry.family, "about": entry.title, **more})

    def find(self, spec: ModelSpec, seed: int) -> None:
        """Train and score a model with one seed, unless that was done before."""
        if (spec.name, seed) in self._found:
            return
        self.progress.begin(spec.name)
        try:
            found = self._opened(spec, seed) if spec.recipe is None else self._trained(spec, seed)
        except (Diverged, OutOfMemory) as error:
            self._found[spec.name, seed] = {"result": {"error": str(error)}, "pictures": None}
            return
        self._found[spec.name, seed] = found
        self.progress.done(found["result"]["train_seconds"], found["seconds"])

    def folder_of(self, spec: ModelSpec, seed: int) -> str:
        """The name of the folder of a model with one seed, in that of the comparison."""
        return spec.folder_name if self.run.config.seeds == 1 else f"{spec.folder_name}-seed{seed}"

    def _opened(self, spec: ModelSpec, seed: int) -> dict[str, Any]:
        """What is found of the model of a run folder."""
        opened, scorer = spec.opened, self.scorers[seed]
        run = Run.open(opened.path)

        def trained() -> Trained:
            data = opened.as_trained(scorer.data)
            return Trained(opened.model, opened.step, data, run, opened.t, opened.weights)

        try:
            return self._once(spec, seed, run, trained)
        except DataError as error:
            raise DataError(f"{spec.given}: {error}") from error

    def _trained(self, spec: ModelSpec, seed: int) -> dict[str, Any]:
        """What is found of a recipe that is trained in a folder of the comparison."""
        config, scorer = self.run.config, self.scorers[seed]
        path = self.run.path / self.folder_of(spec, seed)
        made = (path / CONFIG).exists()  # else a process died before it had made the run
        run = Run.open(path) if made else Run.create(path, config.run_config(spec, seed))
        run.update(run.config.model_copy(update={"data": config.data, "data_root": config.data_root}))

        def trained() -> Trained:
            with self.progress.training(seed, run.config) as watch, logged(run, watch, self.log) as watchers:
                return train(run, watchers, build(run.config, scorer.data), changed_data=self.changed_data)

        return self._once(spec, seed, run, trained)

    def _once(self, spec: ModelSpec, seed: int, run: Run[RunConfig], trained: Callable[[], Trained]) -> dict[str, Any]:
        """What is found of a run: as it was kept in the folder of the comparison, or else computed."""
        data, folder = data_key(self.run.config, self.scorers[seed].data, seed), self.folder_of(spec, seed)
        kept = load_entry(self.run.path, folder, data + run_key(run))
        if kept is None:
            model = trained()
            kept = self._score(spec.name, seed, model.model, model.data)
            rows = run.metrics()
            kept["result"] |= {
                "train_seconds": float(rows[-1].get("seconds", 0)) if rows else 0.0,
                "steps": model.t,
                "batch_size": run.config.options["batch_size"],
                "weights": dict(model.weights),
            }
            save_entry(self.run.path, folder, data + run_key(run), kept, model.t)
        return {**kept, "curve": run.metrics(), "options": run.config.options}

    def _score(self, name: str, seed: int, model: Any, data: Any) -> dict[str, Any]:
        """The result of a trained model, its pictures if no seed before has any, and how long this took."""
        pictured = any(self._found[name, s]["pictures"] for s in self.scorers if s < seed and (name, s) in self._found)
        with self.progress.scoring(seed) as seconds:
            result = self.scorers[seed](model, data)
            pictures = None if pictured else model_pictures(model, data, seed)
            return {"result": result, "pictures": pictures, "seconds": seconds()}

    def _add(self, name: str, about: dict[str, Any]) -> None:
        """Add what is found with each seed, and the aggregate of the scores."""
        found = [self._found[name, seed] for seed in self.scorers]
        for one in reversed(found):  # of several seeds those of the first
            self.shown |= {name: one["pictures"]} if one["pictures"] is not None else {}
            self.curves |= {name: one["curve"]} if "curve" in one else {}
            self.options |= {name: one["options"]} if "options" in one else {}
        results = [one["result"] for one in found]
        self.entries[name] = about | aggregate_seeds(results, self.overlap)
        if "error" not in self.entries[name]:
            self.measured[name] = [result["scores"] for result in results]
