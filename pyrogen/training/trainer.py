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
from pyrogen.nn.eval_mode import evaluating
from pyrogen.protocols import Sampler
from pyrogen.random import derive, scoped_seed
from pyrogen.recipes import Plan, recipe
from pyrogen.recipes.options import bind
from pyrogen.report.plots import curves_png, samples_png
from pyrogen.training.averaging import Average, Best
from pyrogen.training.device import autocast, pick_device
from pyrogen.training.diagnostics import Advice
from pyrogen.training.loop import fit
from pyrogen.training.metric_averager import Window, check_weights
from pyrogen.training.run import Run
from pyrogen.training.signals import Interrupted, stops

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


def build(config: dict[str, Any]) -> Plan:
    """Load the data and make model and step as ``config`` says, on its device.

    Raises:
        UserError: for whatever in the configuration or the data cannot be used.
    """
    seed, device = config["seed"], pick_device(config["device"])
    data = load(config["data"], config.get("data_root"), seed)
    options = bind(recipe(config["model"]), config["options"])
    check_enough(len(data.train), options["batch_size"])
    with scoped_seed(derive(seed, "init")):
        plan = recipe(config["model"])(data, **options)
    plan.model.to(device)
    if hasattr(plan.step, "compile") and plan.step.compile is None:
        plan.step.compile = config["compile"]
    return replace(plan, data=plan.data.to(device))


def train(run: Run, watch: Watcher | None = None, plan: Plan | None = None) -> Trained:
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
    plan = plan or build(config)
    options, seed = config["options"], config["seed"]
    steps, batch_size, device = options["steps"], options["batch_size"], pick_device(config["device"])
    kept = _kept(plan)
    parts: dict[str, Any] = {"model": plan.model, "step": plan.step, "kept": kept, "window": (window := Window())}
    advice = Advice(plan.step)
    with run.lock(), stops() as caught:
        start = checkpoint.load(run.path, **parts) if checkpoint.found(run.path) else 0
        run.rewind(start)
        every = max(steps // LOGS, 1)
        for t, logs in fit(
            plan.step,
            plan.data.train,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            start=start,
            device=device,
            precision=config["precision"],
        ):
            kept.update(plan.model)
            window.add(logs)
            if t % every == 0 or t == steps:
                row = window.close(t, batch_size)
                with window.paused():
                    if _due(t, steps, CHECKPOINTS) and plan.average is None:
                        row["valid_loss"] = _validate(plan, seed)
                        kept.judge(plan.model, row["valid_loss"])
                    run.log(row)
                    if watch:
                        watch(row)
                    advice.after(row)
            with window.paused():
                if _due(t, steps, CHECKPOINTS) or caught:
                    check_weights(plan.model, t)
                    checkpoint.save(run.path, t=t, **parts)
                if _due(t, steps, PICTURES):
                    _draw(run, plan, kept.module, t)
            if caught:
                raise Interrupted(caught[0])
    return Trained(kept.module, plan.data, run, steps)


def restore(run: Run) -> Trained:
    """The model of the newest whole checkpoint, with the weights its run would end with there.

    Raises:
        RunError: if there is none yet, or it does not fit the configuration.
    """
    plan = build(run.config)
    kept = _kept(plan)
    t = checkpoint.load(run.path, kept=kept)
    return Trained(kept.module, plan.data, run, t)


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
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), evaluating(model):
        if y is None and data.test.side is not None:
            y = data.test.tensors(seed)[1][:n]
            n = len(y)
        mean = getattr(model, "sample_mean", None)
        if mean is None and isinstance(model, Sampler):
            return data.measure.to_image(model.sample(n, y)).cpu()
        x: Tensor = (model.reconstruct(data.test.tensors()[0][:n]) if mean is None else mean(n, y)).cpu()
        return x.clamp(0, 1) if data.measure.space in ("unit", "binary") else data.measure.to_image(x)


def _kept(plan: Plan) -> Best | Average:
    """The weights that the run ends with, by the recipe's rule."""
    return Best(plan.model) if plan.average is None else Average(plan.model, plan.average)


def _due(t: int, steps: int, times: int) -> bool:
    return t % max(steps // times, 1) == 0 or t == steps


def _validate(plan: Plan, seed: int) -> float:
    batch = batch_for(plan.step, tuple(part[:VALID_ROWS] for part in plan.data.valid.tensors(seed)))
    with scoped_seed(derive(seed, "valid")):
        return float(plan.step.evaluate(*batch)["loss"])


def _draw(run: Run, plan: Plan, model: nn.Module, t: int) -> None:
    folder = run.path / "samples"
    folder.mkdir(exist_ok=True)
    n = 64 if plan.data.is_image else 2000
    reference = plan.data.measure.to_image(plan.data.test.tensors()[0][:n].cpu())
    samples_png(pictures(model, plan.data, n, run.config["seed"]), reference, folder / f"{t:08d}.png")
    curves_png(run.metrics(), run.path / "curves.png")
