"""Train a recipe in a run folder, continue it, and load the trained model."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

import pyrogen.training.checkpoint as checkpoint
from pyrogen import ranks
from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, DataError, DataWarning
from pyrogen.files import make_folder
from pyrogen.protocols import Step
from pyrogen.random import derive, scoped_seed
from pyrogen.recipes import TrainingSetup, recipe
from pyrogen.report.canvas import figures_freed
from pyrogen.report.pictures import draws, picture_size, real_pictures
from pyrogen.report.plots import curves_png, samples_png
from pyrogen.steps.closed_form import ClosedForm
from pyrogen.steps.guard import read_guard
from pyrogen.training.averaging import BestWeights, ExponentialMovingAverage
from pyrogen.training.budget import Stage
from pyrogen.training.config import RunConfig
from pyrogen.training.device import pick_device
from pyrogen.training.distributed.agreement import the_same, time_and_signal
from pyrogen.training.failures import Failures
from pyrogen.training.loop import fit
from pyrogen.training.memory import MemoryLimit, check_training
from pyrogen.training.monitoring.agenda import CHECKPOINTS, CURVES, LOGS, PICTURES, Agenda, due
from pyrogen.training.monitoring.display import Watcher
from pyrogen.training.monitoring.metric_averager import DiagnosticMonitor, MetricAverager, check_weights
from pyrogen.training.monitoring.validation import validate
from pyrogen.training.resume import changed_since, load_weights, take_up
from pyrogen.training.run import DATA, Run
from pyrogen.training.seen import note_rows, noted_rows
from pyrogen.training.signals import Interrupted, graceful_shutdown


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Args:
        model: the network with the weights that its run ended with.
        step: the step that trained it; its weights are those of the last step.
        data: the data set it was trained on, or that set without its rows.
        run: its run folder.
        t: the number of training steps.
        weights: the ``step`` of the model's weights (``None`` if a checkpoint of version 0.1 does not say) and the
            ``rule`` by which they were taken, ``lowest validation loss`` or ``average of weights, …``.
    """

    model: Any
    step: Step
    data: Dataset
    run: Run[RunConfig]
    t: int
    weights: Mapping[str, Any]


def build(config: RunConfig, data: Dataset | None = None, chosen: Mapping[str, Any] | None = None) -> TrainingSetup:
    """Build the model and its step for the data, on the device that ``config`` names.

    Args:
        config: the configuration.
        data: its data set, if it was loaded before, or that set without its rows.
        chosen: what the recipe chose by the rows when training began, if they are not at hand.

    Raises:
        UserError: if the data or an option cannot be used.
    """
    device = pick_device(config.device)
    data = data or config.load_data()
    if data.has_rows:
        config.check_batch(data)
    with scoped_seed(derive(config.seed, "init")), MemoryLimit():
        setup = recipe(config.model)(data, **{**config.options, **(chosen or {})})
    if data.has_rows:
        check_training(setup.model)
    setup.model.to(device)
    if hasattr(setup.step, "compile") and setup.step.compile is None:
        setup.step.compile = config.compile
    if config.patience is not None and setup.average is not None:
        raise ConfigError(
            f"patience needs a validation loss, and {config.model} has none: it ends with an average of its weights"
        )
    return replace(setup, data=setup.data.to(device))


def train(
    run: Run[RunConfig],
    watch: Watcher | None = None,
    setup: TrainingSetup | None = None,
    *,
    steps: int | None = None,
    changed_data: bool = False,
    pictures: bool = True,
) -> Trained:
    """Train to the last step, or for the given time, from the newest valid checkpoint if there is one.

    Args:
        run: the folder; its configuration says what to train.
        watch: called with every logged row.
        setup: the result of ``build`` for this configuration and number of steps, if it was called before.
        steps: the number of the last step, written into the configuration in place of its own; schedules follow it.
        changed_data: go on although the data are not those that training began with.
        pictures: whether samples and training curves are drawn.

    Raises:
        Diverged: when a loss or gradient is not finite; the update is not made.
        OutOfMemory: when a step needs more memory than there is.
        Interrupted: on SIGINT, SIGTERM or SIGHUP, after a checkpoint.
        UserError: if the data or an option cannot be used.
    """
    watch, pictures = (None, False) if ranks.rank() else (watch, pictures)  # the first process shows and draws
    config = run.config if steps is None else run.config.with_steps(steps)
    setup = setup or _build_in_coordinates(run, config)
    if config.weights_from is not None and not checkpoint.found(run.path):
        load_weights(config.weights_from, setup)
    with run.lock(), graceful_shutdown() as signals:
        while True:
            trained, planned = _train_stage(run, config, setup, watch, signals, changed_data, pictures)
            if planned == trained.t:
                return trained
            config = run.config.planned(planned)
            setup = build(config, setup.data)


def _train_stage(
    run: Run[RunConfig],
    config: RunConfig,
    setup: TrainingSetup,
    watch: Watcher | None,
    signals: Sequence[int],
    changed_data: bool,
    pictures: bool,
) -> tuple[Trained, int]:
    """Train to the last step, or until a run of a given time is planned anew; return the number of its last step."""
    steps, seconds = _length(config, setup)
    batch_size = min(config.options["batch_size"], len(setup.data.train))
    weights, averager, monitor = _selection(setup), MetricAverager(), DiagnosticMonitor(setup.step)
    parts: dict[str, Any] = {"model": setup.model, "step": setup.step, "kept": weights, "window": averager}
    device, latest, rows = pick_device(config.device), [0], setup.data.train
    failures = Failures(setup.step, rows, batch_size, config.seed, device, config.precision)
    with failures.ended(run.path, config.options, latest):
        with averager.paused():
            latest[0] = start = _begin(run, config, parts, setup, changed_data)
        used, _ = time_and_signal(averager.used, signals)
        stage = Stage(seconds, used, start)
        agenda, over = Agenda(steps, seconds, signals), stage.ends_run(used) or _waited(config, weights)

        def collect(t: int, logs: Any) -> None:
            latest[0] = t
            weights.update(setup.model)
            averager.add(logs)

        for t, _ in fit(
            setup.step, rows, steps=start if over else steps, batch_size=batch_size, seed=config.seed, start=start,
            device=device, precision=config.precision, every=agenda, each=collect,
        ):  # fmt: skip
            used, signum = time_and_signal(averager.used, signals)
            steps = t if stage.ends_run(used) else steps
            with averager.paused():
                validation = validate(setup, weights, config.seed, t, steps)
            steps = t if _waited(config, weights) else steps
            if validation or due(t, steps, LOGS):
                read_guard(setup.step)
                row = averager.close(t, batch_size) | validation
                with averager.paused():
                    run.log(row)
                    if watch:
                        watch(row)
                    monitor.after(row)
            with averager.paused():
                if pictures:
                    _draw(run, setup, weights.module, t, steps, watch)
                if due(t, steps, CHECKPOINTS) or signum or stage.ends(used):  # last: a run goes on after what t writes
                    _save(run, setup, parts, t)
            agenda.done()
            if signum:
                raise Interrupted(signum)
            if stage.ends(used) or _waited(config, weights):
                break
    t = latest[0]
    planned = t if _waited(config, weights) else stage.plan(t, used)
    if planned == t != run.config.options["steps"]:
        run.update(run.config.planned(t))
    return _trained(run, setup, weights, t), planned


def _length(config: RunConfig, setup: TrainingSetup) -> tuple[int, float | None]:
    """The number of the last step, and the seconds of a run of a given time; a closed form is fitted in one step."""
    if config.seconds is not None and isinstance(setup.step, ClosedForm):
        return 1, None
    return config.options["steps"], config.seconds


def _build_in_coordinates(run: Run[RunConfig], config: RunConfig) -> TrainingSetup:
    """Build with data in the coordinates of the run's weights, also if they have changed since it began."""
    known = run.described_data()
    return build(config, None if known is None else config.load_data(like=known[0]))


def _begin(
    run: Run[RunConfig], config: RunConfig, parts: dict[str, Any], setup: TrainingSetup, changed_data: bool
) -> int:
    """Restore the newest checkpoint, note what the run is trained on, and return the number of the step."""
    checkpoint.clear(run.path, locked=True)
    extended = config.options["steps"] != run.config.options["steps"]
    start = the_same(take_up(run, config, parts, setup, changed_data), f"step of the checkpoint in {run.path}")
    if extended:  # a run that its patience had ended goes on
        parts["kept"].since = 0
    run.describe_data(setup.data.description, setup.chosen)
    for rows in (*noted_rows(setup.model), setup.data.train):
        note_rows(parts["kept"], rows)  # a copy of the trained weights
    run.rewind(start)
    return start


def _save(run: Run[RunConfig], setup: TrainingSetup, parts: dict[str, Any], t: int) -> None:
    """Save a checkpoint of finite weights."""
    read_guard(setup.step)
    check_weights(setup.model, t)
    run.check_present()
    checkpoint.save(run.path, t=t, **parts)


def restored(run: Run[RunConfig]) -> Trained:
    """The model and the step of the newest valid checkpoint, with the weights that the run would end with there.

    They are built from the description of the data in the folder. The data of a run of version 0.1, which has none, are
    loaded.

    Raises:
        RunError: if there is no checkpoint yet, or it does not fit the configuration.
        DataError: if there is no description, and the data cannot be loaded.
    """
    known = run.described_data()
    setup = _build_from_rows(run) if known is None else build(run.config, Dataset.without_rows(known[0]), known[1])
    weights = _selection(setup)
    t = checkpoint.restore(run.path, model=setup.model, step=setup.step, kept=weights)
    if setup.data.has_rows and not noted_rows(weights):  # else the checkpoint has told what they were trained on
        note_rows(weights, setup.data.train)
    return _trained(run, setup, weights, t)


def _build_from_rows(run: Run[RunConfig]) -> TrainingSetup:
    """Build the model of a run of version 0.1, which does not describe its data."""
    try:
        setup = build(run.config)
    except DataError as error:
        text = f"{run.path} has no {DATA}, as in version 0.1, so its model is rebuilt from its data: {error}"
        raise DataError(text) from error
    change = changed_since(run.config, setup.data)
    if change is not None:
        warnings.warn(
            f"{run.config.data} has changed since {run.path} was trained: {change}", DataWarning, stacklevel=2
        )
    return setup


def _trained(run: Run[RunConfig], setup: TrainingSetup, kept: Any, t: int) -> Trained:
    return Trained(kept.module, setup.step, setup.data, run, t, {"step": kept.step, "rule": kept.rule})


def _selection(setup: TrainingSetup) -> BestWeights[nn.Module] | ExponentialMovingAverage[nn.Module]:
    """The rule of the recipe for the weights that a run ends with."""
    return BestWeights(setup.model) if setup.average is None else ExponentialMovingAverage(setup.model, setup.average)


def _waited(config: RunConfig, weights: Any) -> bool:
    """Whether as many validation losses as the run has patience for have not improved."""
    return config.patience is not None and weights.since >= config.patience


def _draw(
    run: Run[RunConfig], setup: TrainingSetup, model: nn.Module, t: int, steps: int, watch: Watcher | None
) -> None:
    """Draw samples and training curves when they are due."""
    if due(t, steps, PICTURES):
        n, data = picture_size(setup.data), setup.data
        path = make_folder(run.path / "samples") / f"{t:08d}.png"
        samples_png(draws(model, data, n, run.config.seed), real_pictures(data, n), path, columns=data.space.columns)
        show = getattr(watch, "picture", None)
        if show is not None:
            show(path, t)
    if due(t, steps, CURVES):
        with figures_freed():
            curves_png(run.metrics(), run.path / "curves.png")
