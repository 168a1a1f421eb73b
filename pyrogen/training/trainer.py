"""Train a recipe in a run folder: begin, go on, come back to what was trained."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import pyrogen.training.checkpoint as checkpoint
from pyrogen.data.checks import check_enough
from pyrogen.data.dataset import Dataset
from pyrogen.data.datasets import load
from pyrogen.data.step_arguments import batch_for
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Sampler
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import derive, scoped_seed
from pyrogen.recipes import TrainingSetup, recipe
from pyrogen.recipes.options import bind
from pyrogen.report.plots import curves_png, samples_png
from pyrogen.training.averaging import BestWeights, ExponentialMovingAverage
from pyrogen.training.device import autocast, pick_device
from pyrogen.training.diagnostics import DiagnosticMonitor
from pyrogen.training.loop import fit
from pyrogen.training.metric_averager import MetricAverager, check_weights
from pyrogen.training.run import Run
from pyrogen.training.signals import Interrupted, graceful_shutdown

LOGS, CHECKPOINTS, PICTURES = 200, 20, 10
"""How many times in a run the metrics are logged, the state is saved and samples are drawn."""
VALID_ROWS = 2000
"""How many validation data the run's own score is taken on."""
LONG = 4000
"""Runs of as many steps are compiled by default: in shorter ones the compiler takes longer than it saves."""
POSITIVE = {"steps", "batch_size", "lr", "latent", "latents", "hidden", "width", "critic_steps", "clip", "penalty"}
"""The options that a model cannot be built with at zero or below."""


class Watcher(Protocol):
    """Is told of every logged row."""

    def __call__(self, row: dict[str, float]) -> None:
        """Show ``{"t": …, "loss": …, "examples_per_second": …}``."""
        ...


@dataclass(frozen=True)
class Trained:
    """A model with the weights that its run ended with, and the data it was trained for."""

    model: Any
    data: Dataset
    run: Run
    t: int


def configure(
    model: str,
    data: str,
    *,
    data_root: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "32",
    compile: bool | None = None,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole configuration of a run, checked, with every option of the recipe in it."""
    pick_device(device)
    autocast(precision, torch.device("cpu"))
    bound = bind(recipe(model), options or {})
    for name in POSITIVE & bound.keys():
        values = bound[name] if isinstance(bound[name], tuple) else (bound[name],)
        if not all(value > 0 for value in values):
            raise ConfigError(f"{name} must be positive; got {bound[name]}")
    return {
        "model": model,
        "data": data,
        "data_root": data_root,
        "seed": seed,
        "device": device,
        "precision": precision,
        "compile": bound["steps"] >= LONG if compile is None else compile,
        "options": bound,
    }


def build(config: dict[str, Any]) -> TrainingSetup:
    """Load the data and make model and step as ``config`` says, on its device.

    Raises:
        UserError: for whatever in the configuration or the data cannot be used.
    """
    seed, device = config["seed"], pick_device(config["device"])
    data = load(config["data"], config.get("data_root"), seed)
    options = bind(recipe(config["model"]), config["options"])
    check_enough(len(data.train), options["batch_size"])
    with scoped_seed(derive(seed, "init")):
        setup = recipe(config["model"])(data, **options)
    setup.model.to(device)
    if hasattr(setup.step, "compile") and setup.step.compile is None:
        setup.step.compile = config["compile"]
    return replace(setup, data=setup.data.to(device))


def train(run: Run, watch: Watcher | None = None, setup: TrainingSetup | None = None) -> Trained:
    """Train until the last step, from the newest checkpoint if there is one.

    Args:
        run: the folder; its configuration says what to train.
        watch: is told of every logged row.
        plan: what ``build(run.config)`` gave, if it was called before.

    Raises:
        Diverged: when the loss stops being finite; the newest checkpoint is from before.
        Interrupted: on SIGINT or SIGTERM, after a checkpoint.
        UserError: for whatever cannot be used.
    """
    config = run.config
    setup = setup or build(config)
    options, seed = config["options"], config["seed"]
    steps, batch_size, device = options["steps"], options["batch_size"], pick_device(config["device"])
    kept = _kept(setup)
    parts: dict[str, Any] = {
        "model": setup.model,
        "step": setup.step,
        "kept": kept,
        "window": (averager := MetricAverager()),
    }
    advice = DiagnosticMonitor(setup.step)
    with run.lock(), graceful_shutdown() as caught:
        start = checkpoint.restore(run.path, **parts) if checkpoint.found(run.path) else 0
        run.rewind(start)
        every = max(steps // LOGS, 1)
        for t, logs in fit(
            setup.step,
            setup.data.train,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            start=start,
            device=device,
            precision=config["precision"],
        ):
            kept.update(setup.model)
            averager.add(logs)
            if t % every == 0 or t == steps:
                row = averager.close(t, batch_size)
                with averager.paused():
                    if _due(t, steps, CHECKPOINTS) and setup.average is None:
                        row["valid_loss"] = _validate(setup, seed)
                        kept.judge(setup.model, row["valid_loss"])
                    run.log(row)
                    if watch:
                        watch(row)
                    advice.after(row)
            with averager.paused():
                if _due(t, steps, CHECKPOINTS) or caught:
                    check_weights(setup.model, t)
                    checkpoint.save(run.path, t=t, **parts)
                if _due(t, steps, PICTURES):
                    _draw(run, setup, kept.module, t)
            if caught:
                raise Interrupted(caught[0])
    return Trained(kept.module, setup.data, run, steps)


def trained_model(run: Run) -> Trained:
    """The model of the newest whole checkpoint, with the weights its run would end with there.

    Raises:
        RunError: if there is none yet, or it does not fit the configuration.
    """
    setup = build(run.config)
    kept = _kept(setup)
    t = checkpoint.restore(run.path, kept=kept)
    return Trained(kept.module, setup.data, run, t)


def pictures(model: Any, data: Dataset, n: int, seed: int, y: Tensor | None = None) -> Tensor:
    """``n`` samples as pictures in [0, 1], or as vectors: means of p(x | z) where the model has them.

    A model that cannot sample shows its reconstructions of test data.

    Args:
        model: a sampler or an autoencoder.
        data: the data set it was trained for; its test split gives side information where y is none.
        n: how many.
        seed: of the draws.
        y: side information with one row or ``n``.
    """
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(model):
        if y is None and data.test.side is not None:
            y = data.test.tensors(seed)[1][:n]
            n = len(y)
        mean = getattr(model, "sample_mean", None)
        if mean is None and isinstance(model, Sampler):
            return data.space.to_image(drop_extra_args(model.sample)(n, y)).cpu()
        if mean is None:
            x: Tensor = model.reconstruct(data.test.tensors()[0][:n]).cpu()
        else:
            x = drop_extra_args(mean)(n, y).cpu()
        return x.clamp(0, 1) if data.space.support in ("unit", "binary") else data.space.to_image(x)


def _kept(setup: TrainingSetup) -> BestWeights | ExponentialMovingAverage:
    """The weights that the run ends with, by the recipe's rule."""
    return BestWeights(setup.model) if setup.average is None else ExponentialMovingAverage(setup.model, setup.average)


def _due(t: int, steps: int, times: int) -> bool:
    return t % max(steps // times, 1) == 0 or t == steps


def _validate(setup: TrainingSetup, seed: int) -> float:
    batch = batch_for(setup.step, tuple(part[:VALID_ROWS] for part in setup.data.valid.tensors(seed)))
    with scoped_seed(derive(seed, "valid")):
        return float(setup.step.evaluate(*batch)["loss"])


def _draw(run: Run, setup: TrainingSetup, model: nn.Module, t: int) -> None:
    folder = run.path / "samples"
    folder.mkdir(exist_ok=True)
    n = 64 if setup.data.is_image else 2000
    reference = setup.data.space.to_image(setup.data.test.tensors()[0][:n].cpu())
    samples_png(pictures(model, setup.data, n, run.config["seed"]), reference, folder / f"{t:08d}.png")
    curves_png(run.metrics(), run.path / "curves.png")
