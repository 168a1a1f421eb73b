"""Train a recipe in a run folder, continue it, and load the trained model."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import nn

import pyrogen.training.checkpoint as checkpoint
from pyrogen.data.checks import check_batch_size
from pyrogen.data.dataset import Dataset
from pyrogen.data.fingerprint import difference, fingerprint
from pyrogen.data.step_arguments import select_arguments
from pyrogen.errors import DataWarning
from pyrogen.files import make_folder
from pyrogen.random import derive, scoped_seed
from pyrogen.recipes import TrainingSetup, recipe
from pyrogen.report.pictures import draws, picture_size, real_pictures
from pyrogen.report.plots import curves_png, samples_png
from pyrogen.training.averaging import BestWeights, ExponentialMovingAverage
from pyrogen.training.config import RunConfig
from pyrogen.training.device import pick_device
from pyrogen.training.diagnostics import DiagnosticMonitor
from pyrogen.training.loop import fit
from pyrogen.training.metric_averager import MetricAverager, check_weights
from pyrogen.training.resume import load_weights, take_up
from pyrogen.training.run import Run
from pyrogen.training.seen import note_rows, noted_rows
from pyrogen.training.signals import Interrupted, graceful_shutdown

LOGS, CHECKPOINTS, PICTURES, CURVES = 200, 20, 10, 4
"""How many times in a run metrics are logged, checkpoints are saved, and samples and training curves are drawn."""
VALID_ROWS = 2000
"""How many validation data the validation loss is computed on."""


class Watcher(Protocol):
    """A callback for every logged row, such as a progress bar."""

    def __call__(self, row: dict[str, float], /) -> None:
        """Show ``{"t": …, "loss": …, "examples_per_second": …}``."""
        ...


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Args:
        model: the network with the weights that its run ended with.
        data: the data set it was trained on.
        run: its run folder.
        t: the number of training steps.
        step: the step of the weights; ``None`` if a checkpoint of version 0.1 does not say.
        rule: why these weights were taken: ``lowest validation loss`` or ``average of weights, …``.
    """

    model: Any
    data: Dataset
    run: Run[RunConfig]
    t: int
    step: int | None
    rule: str


def build(config: RunConfig, data: Dataset | None = None) -> TrainingSetup:
    """Load the data and build the model and its step on the device that ``config`` names.

    Args:
        config: the configuration.
        data: its data set, if it was loaded before.

    Raises:
        UserError: if the data or an option cannot be used.
    """
    device = pick_device(config.device)
    data = data or config.load_data()
    _check_batch(config, data)
    with scoped_seed(derive(config.seed, "init")):
        setup = recipe(config.model)(data, **config.options)
    setup.model.to(device)
    if hasattr(setup.step, "compile") and setup.step.compile is None:
        setup.step.compile = config.compile
    return replace(setup, data=setup.data.to(device))


def train(
    run: Run[RunConfig],
    watch: Watcher | None = None,
    setup: TrainingSetup | None = None,
    *,
    steps: int | None = None,
    changed_data: bool = False,
) -> Trained:
    """Train to the last step, from the newest valid checkpoint if there is one.

    Args:
        run: the folder; its configuration says what to train.
        watch: called with every logged row.
        setup: the result of ``build`` for this configuration and number of steps, if it was called before.
        steps: the number of the last step in place of that of the configuration, into which it is written. Schedules
            are from here on those of a run of that length.
        changed_data: go on although the data are not those that training began with.

    Raises:
        Diverged: when the loss is not finite; the newest checkpoint precedes the divergence.
        Interrupted: on SIGINT, SIGTERM or SIGHUP, after a checkpoint.
        UserError: if the data or an option cannot be used.
    """
    config = run.config if steps is None else run.config.with_steps(steps)
    setup = setup or build(config)
    if config.weights_from is not None and not checkpoint.found(run.path):
        load_weights(config.weights_from, setup)
    steps, batch_size = config.options["steps"], min(config.options["batch_size"], len(setup.data.train))
    weights, averager, monitor = _selection(setup), MetricAverager(), DiagnosticMonitor(setup.step)
    parts: dict[str, Any] = {"model": setup.model, "step": setup.step, "kept": weights, "window": averager}
    with run.lock(), graceful_shutdown() as signals:
        checkpoint.clear(run.path, locked=True)
        start = take_up(run, config, parts, setup, changed_data)
        for rows in (*noted_rows(setup.model), setup.data.train):
            note_rows(weights, rows)  # a copy of the trained ones
        run.rewind(start)
        every = max(steps // LOGS, 1)
        for t, logs in fit(
            setup.step, setup.data.train, steps=steps, batch_size=batch_size, seed=config.seed, start=start,
            device=pick_device(config.device), precision=config.precision,
        ):  # fmt: skip
            weights.update(setup.model)
            averager.add(logs)
            validation: dict[str, float] = {}
            if setup.average is None and _validates(t, steps):
                with averager.paused():
                    validation["valid_loss"] = _validate(setup, config.seed)
                    weights.judge(setup.model, validation["valid_loss"], t)
            if t % every == 0 or t == steps:
                row = averager.close(t, batch_size) | validation
                with averager.paused():
                    run.log(row)
                    if watch:
                        watch(row)
                    monitor.after(row)
            with averager.paused():
                if _due(t, steps, PICTURES):
                    _draw(run, setup, weights.module, t)
                if _due(t, steps, CURVES):
                    curves_png(run.metrics(), run.path / "curves.png")
                stop = [*signals]  # a signal from here on ends the next step
                if _due(t, steps, CHECKPOINTS) or stop:  # last, so that a run goes on after all that step t writes
                    check_weights(setup.model, t)
                    run.check_present()
                    checkpoint.save(run.path, t=t, **parts)
            if stop:
                raise Interrupted(stop[0])
    return Trained(weights.module, setup.data, run, steps, weights.step, weights.rule)


def trained_model(run: Run[RunConfig]) -> Trained:
    """The model of the newest valid checkpoint, with the weights that the run would end with there.

    Raises:
        RunError: if there is no checkpoint yet, or it does not fit the configuration.
    """
    setup = build(run.config)
    change = None if run.config.fingerprint is None else difference(run.config.fingerprint, fingerprint(setup.data))
    if change is not None:
        text = f"{run.config.data} has changed since {run.path} was trained: {change}"
        warnings.warn(text, DataWarning, stacklevel=2)
    weights = _selection(setup)
    t = checkpoint.restore(run.path, kept=weights)
    _note_rows(weights, setup)
    return Trained(weights.module, setup.data, run, t, weights.step, weights.rule)


def _note_rows(weights: Any, setup: TrainingSetup) -> None:
    """Note what the kept weights, a copy of the trained ones, were trained on, unless a checkpoint has told."""
    if not noted_rows(weights):
        note_rows(weights, setup.data.train)


def _check_batch(config: RunConfig, data: Dataset) -> None:
    """Refuse a batch size above the number of training rows; warn if it is the recipe's own, which is then reduced."""
    wanted, n = config.options["batch_size"], len(data.train)
    if wanted != recipe(config.model).bind({})["batch_size"]:
        check_batch_size(n, wanted)
    elif n < wanted:
        text = f"{data.name}: a batch has all {n} training rows, as they are fewer than {wanted}"
        warnings.warn(text, DataWarning, stacklevel=3)


def _selection(setup: TrainingSetup) -> BestWeights[nn.Module] | ExponentialMovingAverage[nn.Module]:
    """The rule of the recipe for the weights that a run ends with."""
    return BestWeights(setup.model) if setup.average is None else ExponentialMovingAverage(setup.model, setup.average)


def _due(t: int, steps: int, times: int) -> bool:
    return t % max(steps // times, 1) == 0 or t == steps


def _validates(t: int, steps: int) -> bool:
    """Whether weights are judged: at every checkpoint, and often early on, as few data are soon overfitted."""
    return _due(t, steps, CHECKPOINTS) or t & (t - 1) == 0


def _validate(setup: TrainingSetup, seed: int) -> float:
    batch = select_arguments(setup.step, tuple(part[:VALID_ROWS] for part in setup.data.valid.tensors(seed)))
    return float(setup.step.evaluate(*batch)["loss"])


def _draw(run: Run[RunConfig], setup: TrainingSetup, model: nn.Module, t: int) -> None:
    folder = make_folder(run.path / "samples")
    n, data = picture_size(setup.data), setup.data
    drawn = draws(model, data, n, run.config.seed)
    samples_png(drawn, real_pictures(data, n), folder / f"{t:08d}.png", columns=data.space.columns)
