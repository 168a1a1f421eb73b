"""``pyrogen train`` and ``pyrogen resume``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli import compare, console, experiment
from pyrogen.cli.arguments import (
    DATA_HELP,
    DEVICE_HELP,
    SEED_HELP,
    Categorical,
    DropConstant,
    DropMissing,
    Folder,
    Root,
    Size,
    Strategy,
    Target,
    data_names,
    model_names,
)
from pyrogen.cli.console import given_options, message, resumable
from pyrogen.errors import ConfigError

if TYPE_CHECKING:
    from pyrogen.training.config import RunConfig
    from pyrogen.training.run import Run


def train(
    model: Annotated[
        str | None, typer.Argument(help="Name of a model (`pyrogen models`).", autocompletion=model_names)
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help=f"{DATA_HELP}; digits by default.", autocompletion=data_names)
    ] = None,
    data_root: Root = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default an unused name under runs/.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of optimiser steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help=f"{SEED_HELP}; 0 by default.")] = None,
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP)] = None,
    precision: Annotated[
        str | None, typer.Option(help="32, bf16 (mixed precision), or tf32 or bf16-products (rounded products).")
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="Compile loss and gradients; default for runs of 4000 steps or more."
        ),
    ] = None,
    strategy: Strategy = "ddp",
    target: Target = None,
    categorical: Categorical = None,
    drop_constant: DropConstant = None,
    drop_missing: DropMissing = None,
    size: Size = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Model option, e.g. latent=10; repeatable."),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Run folder; start from its weights, those it is sampled with."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file such as a run's config.toml; command-line options override it.")
    ] = None,
) -> None:
    """Train a model and write a resumable run folder."""
    from pyrogen.recipes.options import parse_pairs
    from pyrogen.training.config import RunConfig, read_toml
    from pyrogen.training.distributed import joined

    wanted = read_toml(config) if config else {}
    wanted.pop("fingerprint", None)  # of the data of another run
    options = _options(wanted, config) | parse_pairs(set_ or [], "--set")
    options |= given_options(steps=steps, batch_size=batch_size, lr=lr)
    wanted |= given_options(
        model=model, data=data, data_root=data_root, seed=seed, device=device, precision=precision, compile=compile,
        target=target, categorical=categorical or None, drop_constant=drop_constant, drop_missing=drop_missing,
        size=size, weights_from=None if from_ is None else str(from_),
    )  # fmt: skip
    if "model" not in wanted and not config:
        raise ConfigError(f"no model given; expected one of: {', '.join(model_names())}")
    what = f"key of {config.name}" if config else "setting"
    checked = RunConfig.checked({**wanted, "options": options}, what)
    with joined(checked.device, strategy):
        _train_new(checked, out)


def _train_new(config: "RunConfig", out: Path | None) -> None:
    """Train in a new folder, which is made when all that could be refused was looked at."""
    from pyrogen.training.distributed.agreement import greatest
    from pyrogen.training.resume import load_weights
    from pyrogen.training.run import CONFIG, Run, free_path
    from pyrogen.training.trainer import build

    # Torchrun repeats the command after a process has died; it counts that on the host of the process alone.
    (restarts,) = greatest(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)))
    if restarts and out is not None and (out / CONFIG).exists():
        return _train(Run.open(out))
    setup = build(config)
    if config.weights_from is not None:
        load_weights(config.weights_from, setup)
    default = Path("runs") / f"{config.model}-{Path(config.data).stem}"
    return _train(Run.create(out or free_path(default), config), setup)


def _options(wanted: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """The options of the model in a file of settings."""
    options: Any = wanted.get("options", {})
    if not isinstance(options, dict):
        raise ConfigError(f"options in {config} must be a table; got {options!r}")
    return options


def resume(
    folder: Folder,
    steps: Annotated[
        int | None, typer.Option(help="Number of the last step, in place of that of the configuration.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Where the same data are now, if they were moved.")] = None,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="Go on although the data have changed since training began.")
    ] = False,
) -> None:
    """Continue a run, a comparison or an experiment from its newest valid checkpoint."""
    from pyrogen.comparison.config import ComparisonConfig
    from pyrogen.experiments.config import ExperimentConfig
    from pyrogen.training.config import read_toml
    from pyrogen.training.distributed import joined
    from pyrogen.training.run import CONFIG, Run

    kinds: dict[str, tuple[Any, Any]] = {
        "models": (ComparisonConfig, compare.run_and_show),
        "experiment": (ExperimentConfig, experiment.run_and_show),
    }
    keys = read_toml(folder / CONFIG, sealed=True) if os.path.exists(folder / CONFIG) else {}
    for schema, run_and_show in (kind for key, kind in kinds.items() if key in keys):
        if steps is not None:
            raise ConfigError(f"{folder} has several models, whose number of steps is fixed: give no --steps")
        several: Run[Any] = Run.open(folder, schema)
        _move_data(several, data)
        if not console.process():  # as for `compare` itself
            run_and_show(several, as_json=False, changed_data=changed_data)
        return
    run = Run.open(folder)
    _move_data(run, data)
    with joined(run.config.device):
        _train(run, steps=steps, changed_data=changed_data)


def _move_data(run: "Run[Any]", data: str | None) -> None:
    """Let a run find its data in another place, which is written into its folder once they are known to be the same."""
    if data is not None:
        run.config = run.config.model_copy(update={"data": data}).with_absolute_paths()


def _train(run: "Run[RunConfig]", setup: Any = None, steps: int | None = None, changed_data: bool = False) -> None:
    from pyrogen.cli.progress import progress_display
    from pyrogen.training.trainer import train as train_run

    title = f"{run.config.model} on {run.config.data}"
    message(f"{title} → {run.path}")
    total = steps or (run.config.options["steps"] if run.config.seconds is None else 0)
    with resumable(run.path), progress_display(title, total, console.err) as watch:
        train_run(run, watch, setup, steps=steps, changed_data=changed_data)
    message(f"done: `pyrogen evaluate {run.path}`, `pyrogen sample {run.path}`")
