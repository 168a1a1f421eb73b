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
        results = []
        for (seed, scorer), model in zip(self.scorers.items(), models, strict=True):
            try:
                scored = self._score(name, seed, model, scorer.data.to(device_of(model)))
            except DataError as error:
                each = "" if n == 1 else f"; own={{{name!r}: […]}} takes a model for each seed"
                raise DataError(f"own model {name!r}, seed {seed}: {error}{each}") from error
            results.append(self._take(name, scored))
        self._add(name, {"family": family(models[0]), "about": "user's own model"}, results)

    def add_run(self, spec: ModelSpec) -> None:
        """Evaluate the model of a run folder."""
        self.progress.begin(spec.name)
        ((seed, scorer),) = self.scorers.items()
        opened = spec.opened
        run = Run.open(opened.path)

        def trained() -> Trained:
            data = opened.as_trained(scorer.data)
            return Trained(opened.model, opened.step, data, run, opened.t, opened.weights)

        try:
            result = self._once(spec.name, seed, spec.folder_name, run, trained)
        except DataError as error:
            raise DataError(f"{spec.given}: {error}") from error
        entry = recipe(run.config.model)
        self._add(spec.name, {"family": entry.family, "about": entry.title, "run": spec.given}, [result])

    def train(self, spec: ModelSpec) -> None:
        """Train a recipe once per seed, on the data set of the seed, and evaluate each model."""
        assert spec.recipe is not None
        self.progress.begin(spec.name)
        config = self.run.config
        results: list[dict[str, Any]] = []
        for seed, scorer in self.scorers.items():
            name = spec.folder_name if config.seeds == 1 else f"{spec.folder_name}-seed{seed}"
            path = self.run.path / name
            made = (path / CONFIG).exists()  # else a process died before it had made the run
            run = Run.open(path) if made else Run.create(path, config.run_config(spec, seed))
            run.update(run.config.model_copy(update={"data": config.data, "data_root": config.data_root}))

            def trained(run: Run[RunConfig] = run, seed: int = seed, scorer: Scorer = scorer) -> Trained:
                with self.progress.training(seed, run.config) as watch, logged(run, watch, self.log) as watchers:
                    return train(run, watchers, build(run.config, scorer.data), changed_data=self.changed_data)

            try:
                results.append(self._once(spec.name, seed, name, run, trained))
            except (Diverged, OutOfMemory) as error:
                results.append({"error": str(error)})
        entry = recipe(spec.recipe)
        self._add(spec.name, {"family": entry.family, "about": entry.title}, results)

    def _once(
        self, name: str, seed: int, folder: str, run: Run[RunConfig], trained: Callable[[], Trained]
    ) -> dict[str, Any]:
        """The result of a run: as it was kept in the folder of the comparison, or else computed."""
        data = data_key(self.run.config, self.scorers[seed].data, seed)
        kept = load_entry(self.run.path, folder, data + run_key(run))
        if kept is None:
            model = trained()
            kept = self._score(name, seed, model.model, model.data)
            rows = run.metrics()
            kept["result"] |= {
                "train_seconds": float(rows[-1].get("seconds", 0)) if rows else 0.0,
                "steps": model.t,
                "batch_size": run.config.options["batch_size"],
                "weights": dict(model.weights),
            }
            save_entry(self.run.path, folder, data + run_key(run), kept, model.t)
        self.curves.setdefault(name, run.metrics())
        self.options[name] = run.config.options
        return self._take(name, kept)

    def _score(self, name: str, seed: int, model: Any, data: Any) -> dict[str, Any]:
        """The result of a trained model, its pictures if no seed before has any, and how long this took."""
        with self.progress.scoring(seed) as seconds:
            result = self.scorers[seed](model, data)
            pictures = None if name in self.shown else model_pictures(model, data, seed)
            return {"result": result, "pictures": pictures, "seconds": seconds()}

    def _take(self, name: str, scored: Mapping[str, Any]) -> dict[str, Any]:
        """Take the pictures of a scored model, and return its result."""
        result: dict[str, Any] = scored["result"]
        if scored["pictures"] is not None:
            self.shown[name] = scored["pictures"]
        self.progress.done(result.get("train_seconds", 0.0), scored["seconds"])
        return result

    def _add(self, name: str, about: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """Add the scores of each seed, and their aggregate."""
        self.entries[name] = about | aggregate_seeds(results, self.overlap)
        if "error" not in self.entries[name]:
            self.measured[name] = [result["scores"] for result in results]
