"""``pyrogen train`` and ``pyrogen resume``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli import compare, console, experiment
from pyrogen.cli.arguments import (
    BatchSize,
    Categorical,
    Compile,
    ConfigFile,
    DropConstant,
    DropMissing,
    Folder,
    From,
    LearningRate,
    Log,
    Model,
    Out,
    OwnData,
    OwnDevice,
    OwnSeed,
    Patience,
    Precision,
    Quiet,
    Root,
    Set,
    Size,
    Steps,
    Strategy,
    Sweep,
    Target,
    model_names,
)
from pyrogen.cli.console import given_options, message, preparing, resumable
from pyrogen.errors import ConfigError

if TYPE_CHECKING:
    from pyrogen.training.config import RunConfig
    from pyrogen.training.run import Run


def train(
    model: Model = None,
    data: OwnData = None,
    data_root: Root = None,
    out: Out = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    seed: OwnSeed = None,
    device: OwnDevice = None,
    precision: Precision = None,
    compile: Compile = None,
    strategy: Strategy = "ddp",
    target: Target = None,
    categorical: Categorical = None,
    drop_constant: DropConstant = None,
    drop_missing: DropMissing = None,
    size: Size = None,
    set_: Set = None,
    from_: From = None,
    patience: Patience = None,
    config: ConfigFile = None,
    log: Log = None,
    sweep: Sweep = False,
    quiet: Quiet = False,
) -> None:
    """Train a model and write a resumable run folder."""
    reading = given_options(
        data=data, data_root=data_root, seed=seed, device=device, target=target, categorical=categorical or None,
        drop_constant=drop_constant, drop_missing=drop_missing, size=size,
    )  # fmt: skip
    training = given_options(
        precision=precision, compile=compile, patience=patience, weights_from=None if from_ is None else str(from_)
    )
    options = given_options(steps=steps, batch_size=batch_size, lr=lr)
    if model is None and not config:
        raise ConfigError(f"no model given; expected one of: {', '.join(model_names())}")
    if sweep:
        if training or config:
            refused = next(iter({**training, **given_options(config=config)}))
            raise ConfigError(f"--sweep compares new models by one budget: it takes no {refused}")
        compare.run_sweep(str(model), set_ or [], options, out, reading, log)
        return
    given = {**reading, **training, **({} if model is None else {"model": model})}
    _train_new(given, options, set_ or [], config, out, log, strategy)


def _train_new(
    given: dict[str, Any],
    options: dict[str, Any],
    settings: list[str],
    config: Path | None,
    out: Path | None,
    log: str | None,
    strategy: str,
) -> None:
    """Train in a new folder by a file of settings and those that are given, which come before it."""
    from pyrogen.recipes.options import parse_pairs
    from pyrogen.training.config import RunConfig, read_toml
    from pyrogen.training.distributed import joined, restarted
    from pyrogen.training.monitoring.logs import check_log
    from pyrogen.training.run import CONFIG, Run
    from pyrogen.training.start import start

    check_log(log)

    wanted = read_toml(config) if config else {}
    wanted.pop("fingerprint", None)  # of the data of another run
    options = _options(wanted, config) | parse_pairs(settings, "--set") | options
    wanted |= given
    what = f"key of {config.name}" if config else "setting"
    checked = RunConfig.checked({**wanted, "options": options}, what)
    with joined(checked.device, strategy):
        if restarted() and out is not None and (out / CONFIG).exists():
            _train(Run.open(out), log=log)
            return
        with preparing(f"{checked.model} on {checked.data}"):
            run, setup = start(checked, out)
        _train(run, setup, log=log)


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
    log: Log = None,
    quiet: Quiet = False,
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
        for name, value in (("steps", steps), ("log", log)):
            if value is not None:
                raise ConfigError(f"{folder} has several models of fixed settings: give no --{name}")
        several: Run[Any] = Run.open(folder, schema)
        _move_data(several, data)
        run_and_show(several, as_json=False, changed_data=changed_data)
        return
    run = Run.open(folder)
    _move_data(run, data)
    with joined(run.config.device):
        _train(run, steps=steps, changed_data=changed_data, log=log)


def _move_data(run: "Run[Any]", data: str | None) -> None:
    """Let a run find its data in another place, which is written into its folder once they are known to be the same."""
    if data is not None:
        run.config = run.config.model_copy(update={"data": data}).with_absolute_paths()


def _train(
    run: "Run[RunConfig]",
    setup: Any = None,
    steps: int | None = None,
    changed_data: bool = False,
    log: str | None = None,
) -> None:
    from pyrogen.training.monitoring.logs import logged
    from pyrogen.training.start import announced
    from pyrogen.training.trainer import train as train_run

    shown = announced(run, console.display(), steps)
    with resumable(run.path), shown as watch, logged(run, watch, log) as watchers:
        train_run(run, watchers, setup, steps=steps, changed_data=changed_data)
    message(f"done: `pyrogen evaluate {run.path}`, `pyrogen sample {run.path}`")
