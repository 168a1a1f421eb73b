"""``pyrogen compare``: train several models with the same budget and write one scorecard."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli import console
from pyrogen.cli.arguments import (
    DATA_HELP,
    SEED_HELP,
    AnnealedOrNot,
    Categorical,
    Device,
    DropConstant,
    DropMissing,
    Features,
    Json,
    Log,
    Quiet,
    Root,
    Size,
    Target,
    data_names,
    model_names,
)
from pyrogen.cli.console import message, preparing, resumable
from pyrogen.cli.tables import print_card, scorecard_table, verdict_table
from pyrogen.launched import process

if TYPE_CHECKING:
    from pyrogen.comparison.config import ComparisonConfig
    from pyrogen.training.run import Run


def compare(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Models, with settings as in vae:latent=8:hidden=64,32, and run folders, which are evaluated only; "
            "by default a fixed set of explicit and implicit models.",
            autocompletion=model_names,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help=f"{DATA_HELP}; those of the first run folder or digits by default.",
            autocompletion=data_names,
        ),
    ] = None,
    data_root: Root = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; by default an unused name under runs/.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Budget: optimiser steps of each model; 3000 by default.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Budget in place of --steps: seconds of training of each model.")
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(help="Budget in place of --steps: rows each model is trained on, with repetitions."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Batch size.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of training runs per model, each with another seed.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help=f"{SEED_HELP}; by default that of the first run folder, or 0.")
    ] = None,
    device: Device = "auto",
    target: Target = None,
    categorical: Categorical = None,
    drop_constant: DropConstant = None,
    drop_missing: DropMissing = None,
    size: Size = None,
    features: Features = None,
    ais: AnnealedOrNot = None,
    log: Log = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train several models with the same budget and split, and write report.html, scores.json and scores.csv."""
    with preparing(f"comparing {', '.join(models or ['six models'])} on {data or 'digits'}"):
        from pyrogen.comparison.config import prepare

        make = partial(
            prepare, models or None, data, data_root=data_root, steps=steps, seconds=seconds, examples=examples,
            batch_size=batch_size, seeds=seeds, seed=seed, device=device, target=target, size=size,
            categorical=categorical or None, drop_constant=drop_constant, drop_missing=drop_missing,
            features=features or None, ais=ais,
        )  # fmt: skip
        run = _made_once(make, out, device, log)
    run_and_show(run, as_json, log=log)


def _made_once(
    make: "Callable[..., Run[ComparisonConfig]]", out: Path | None, device: str, log: str | None
) -> "Run[ComparisonConfig]":
    """The comparison that ``make(out=…)`` makes, one for all processes; that in ``out`` if the command is repeated."""
    from pyrogen.comparison.config import ComparisonConfig
    from pyrogen.training.distributed import joined, restarted
    from pyrogen.training.monitoring.logs import check_log
    from pyrogen.training.run import CONFIG, Run

    check_log(log)
    with joined(device):
        if restarted() and out is not None and (out / CONFIG).exists():
            return Run.open(out, ComparisonConfig)
        return make(out=out)


def run_sweep(
    model: str,
    settings: list[str],
    options: dict[str, Any],
    out: Path | None,
    reading: dict[str, Any],
    log: str | None = None,
) -> None:
    """Compare one model for each combination of the values of its options: ``pyrogen train MODEL --sweep``.

    Args:
        model: the name of the recipe.
        settings: its options, each with one or several values.
        options: those of ``--steps``, ``--batch-size`` and ``--lr``.
        out: the folder.
        reading: the data, the seed and the device, as for ``prepare``.
        log: the tool of ``--log``.
    """
    from pyrogen.comparison.config import prepare
    from pyrogen.comparison.models import grid
    from pyrogen.recipes import recipe
    from pyrogen.training.run import free_path

    default = recipe(model).bind({})
    models = grid(model, [*settings, *(f"lr={lr:g}" for lr in [options.get("lr")] if lr is not None)])
    budget = {name: options.get(name, default[name]) for name in ("steps", "batch_size")}
    folder = out or free_path(Path("runs") / f"sweep-{model}-{Path(reading.get('data', 'digits')).stem}")
    make = partial(prepare, models, reading.pop("data", None), **budget, **reading)
    run_and_show(_made_once(make, folder, reading.get("device", "auto"), log), as_json=False, log=log)


def run_and_show(
    run: "Run[ComparisonConfig]", as_json: bool, changed_data: bool = False, log: str | None = None
) -> None:
    """Run or continue a comparison, if asked to with changed data, and print its scorecard.

    Of several processes each trains and scores models; the first writes and prints.
    """
    from pyrogen.comparison.compare import help_comparison, run_comparison

    with resumable(run.path):
        if process():
            console.be_helper()
            help_comparison(run, changed_data=changed_data, log=log)
            return
        card = run_comparison(run, show=console.display(), changed_data=changed_data, log=log)
    print_card(card, (scorecard_table(card), verdict_table(card)), as_json)
    message(f"report: {run.path / 'report.html'}")
