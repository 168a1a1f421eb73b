"""Run an experiment: train each model on each seed, score it, and write the results."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pyrogen.comparison.paired import paired_differences
from pyrogen.comparison.progress import Progress, Show, announce
from pyrogen.comparison.scoring import aggregate_seeds, common_test_rows
from pyrogen.comparison.stored import data_key, load_entry, run_key, save_entry
from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, Diverged, OutOfMemory
from pyrogen.experiments.config import ExperimentConfig, prepare
from pyrogen.experiments.page import write_page
from pyrogen.experiments.registry import Arm, Entry, Plan, ScoreModel, experiment_called
from pyrogen.files import write_whole
from pyrogen.random import generator
from pyrogen.report.cards import Card
from pyrogen.training.device import pick_device
from pyrogen.training.monitoring.display import Display
from pyrogen.training.resume import with_data
from pyrogen.training.run import CONFIG, Run
from pyrogen.training.trainer import build, train


def experiment(
    name: str, data: str | Path | None = None, *, show: Show | None = None, progress: bool = False, **settings: Any
) -> Card:
    """Run an experiment and write ``results.json`` and ``page.html``.

    Args:
        name: the name of the experiment.
        data: the name or path of a data set; by default that of the experiment.
        show: a display of one's own of each training run.
        progress: whether progress is shown: a line on a terminal, a display in a notebook.
        settings: as for ``prepare``: ``out``, ``seeds``, ``seed``, ``data_root``, ``device``, …, and the experiment's
            own options, such as ``steps``.

    Returns:
        The results, as in ``results.json``, and ``folder``, its folder.

    Raises:
        UserError: before training starts, if a setting, an option or the data are invalid.
    """
    return run_experiment(prepare(name, data, **settings), show=Display() if progress and show is None else show)


def run_experiment(run: Run[ExperimentConfig], *, show: Show | None = None, changed_data: bool = False) -> Card:
    """Run the experiment that ``run.config`` describes, or continue it with the model that it was at.

    Args:
        run: its folder.
        show: as for ``experiment``.
        changed_data: go on although the data are not those that the experiment began with.

    Raises:
        DataError: if the data have changed.
    """
    config, device = run.config, pick_device(run.config.device)
    sets = {seed: config.load_data(seed) for seed in config.all_seeds}
    with run.lock():
        run.update(with_data(run, config, sets[config.seed], changed_data))
        plan = experiment_called(config.experiment)(sets[config.seed], **config.options)
        cells = _Cells(run, plan, {seed: data.to(device) for seed, data in sets.items()}, changed_data)
        pairs = [(arm, seed) for seed in config.all_seeds for arm in plan.arms]  # each seed has all models early
        results: dict[str, list[Entry]] = {arm.name: [] for arm in plan.arms}
        arms = ", ".join(arm.name for arm in plan.arms)
        announce(show, f"{config.experiment} on {config.data}, {config.seeds} seeds each: {arms} → {run.path}")
        progress = Progress(show, len(pairs), 1)
        for arm, seed in pairs:
            results[arm.name].append(cells.entry(arm, seed, progress))
        return _write(run, plan, cells, results)


class _Cells:
    """Trains and scores one model on one seed, unless a process before has done so."""

    def __init__(self, run: Run[ExperimentConfig], plan: Plan, sets: Mapping[int, Dataset], changed_data: bool) -> None:
        self.run, self.plan, self.sets, self.changed_data = run, plan, sets, changed_data
        self._scorers: dict[tuple[int | None, int], ScoreModel] = {}

    def scorer(self, rows: int | None, seed: int) -> ScoreModel:
        """The scorer of models that were trained on ``rows`` data of the seed's split, made when it is needed."""
        if (rows, seed) not in self._scorers:
            whole = self.sets[seed]
            self._scorers[rows, seed] = self.plan.scorer(whole, training_part(whole, rows, seed), seed)
        return self._scorers[rows, seed]

    def entry(self, arm: Arm, seed: int, progress: Progress) -> Entry:
        """The scores of a model, with the seconds of its training and of its scores."""
        config, name = self.run.config, f"{arm.name}-seed{seed}"
        progress.begin(name)
        path, data = self.run.path / name, training_part(self.sets[seed], arm.rows, seed)
        run = Run.open(path) if (path / CONFIG).exists() else Run.create(path, config.run_config(arm, seed))
        run.update(run.config.model_copy(update={"data": config.data, "data_root": config.data_root}))
        key = data_key(config, data, seed)
        found = load_entry(self.run.path, name, key + run_key(run))
        if found is None:
            try:
                with progress.training(seed, run.config) as watch:
                    setup = build(run.config, data)
                    trained = train(run, watch, setup, changed_data=self.changed_data, pictures=False)
                with progress.scoring(seed) as seconds:
                    found = self.scorer(arm.rows, seed)(trained.model, trained.data)
                    found |= {"score_seconds": seconds(), "weights": dict(trained.weights)}
            except (Diverged, OutOfMemory, ConfigError) as error:  # a model without finite scores is no fault of others
                return {"error": str(error)}
            found["train_seconds"] = run.metrics()[-1].get("seconds", 0.0)
            save_entry(self.run.path, name, key + run_key(run), found, trained.t)
        progress.done(found["train_seconds"], found["score_seconds"])
        return found


def training_part(data: Dataset, rows: int | None, seed: int) -> Dataset:
    """The data set with ``rows`` of its training data, those first in a random order of the seed.

    Smaller parts of a seed are contained in larger ones.
    """
    if rows is None or rows == len(data.train):
        return data
    order = torch.randperm(len(data.train), generator=generator(seed, "training part"))
    return replace(data, train=data.train.select(order[:rows].to(data.train.device)))


def _write(run: Run[ExperimentConfig], plan: Plan, cells: _Cells, results: dict[str, list[Entry]]) -> Card:
    """Write ``results.json`` and ``page.html``; return the results."""
    config, entry = run.config, experiment_called(run.config.experiment)
    data = cells.sets[config.seed]
    finished = {name: each for name, each in results.items() if not any("error" in one for one in each)}
    measured = {name: [one["scores"] for one in each] for name, each in finished.items()}
    overlap = common_test_rows([*cells.sets.values()])
    chosen = measured if plan.compared is None else plan.compared
    compared = {name: measured[name] for name in chosen if name in measured}
    card: dict[str, Any] = {
        "experiment": entry.name,
        "question": entry.question,
        "differs": entry.differs,
        "data": config.data,
        "space": str(data.space),
        "split": {part: len(getattr(data, part)) for part in ("train", "valid", "test")},
        "seeds": list(config.all_seeds),
        "options": config.options,
        "columns": list(plan.columns),
        "arms": {arm.name: _aggregate(arm, results[arm.name], overlap) for arm in plan.arms},
        "anchors": plan.anchors({seed: cells.scorer(None, seed) for seed in config.all_seeds}),
        "by_seed": {
            arm: {name: [scores[name].value for scores in each if name in scores] for name in each[0]}
            for arm, each in measured.items()
        },
        "comparisons": paired_differences(compared, overlap) if config.seeds > 1 else {},
    }
    card["findings"] = plan.findings(card)
    text = json.dumps(card, indent=1)
    write_whole(run.path / "results.json", text.encode())
    write_page(run.path / "page.html", card, plan.figures(card))
    return Card(json.loads(text), folder=str(run.path))


def _aggregate(arm: Arm, results: list[Entry], overlap: float) -> dict[str, Any]:
    """The mean of each score over the seeds, with its error and interval, and what the arm is."""
    about = {"recipe": arm.recipe, "options": dict(arm.options), "rows": arm.rows, "line": arm.line, "at": arm.at}
    return about | aggregate_seeds(results, overlap)
