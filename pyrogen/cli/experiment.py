"""``pyrogen experiment``: models that differ in one thing, on several seeds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyrogen.cli import console
from pyrogen.cli.arguments import (
    DATA_HELP,
    Categorical,
    Device,
    DropConstant,
    DropMissing,
    Json,
    Quiet,
    Root,
    Seed,
    Size,
    Target,
    data_names,
    experiment_names,
)
from pyrogen.cli.console import given_options, message, resumable
from pyrogen.cli.lists import show_list
from pyrogen.cli.tables import borderless_table, experiment_table, print_card
from pyrogen.launched import process

if TYPE_CHECKING:
    from pyrogen.experiments.config import ExperimentConfig
    from pyrogen.training.run import Run


def experiment(
    name: Annotated[
        str | None,
        typer.Argument(help="Name of an experiment; without it, all are listed.", autocompletion=experiment_names),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help=f"{DATA_HELP}; by default that of the experiment.", autocompletion=data_names),
    ] = None,
    data_root: Root = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default an unused name under runs/.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of training runs per model, each with another seed.")] = 5,
    seed: Seed = 0,
    steps: Annotated[str | None, typer.Option(help="Optimiser steps of each model; `lines` takes several.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Option of the experiment, e.g. hidden=64,64; repeatable."),
    ] = None,
    device: Device = "auto",
    target: Target = None,
    categorical: Categorical = None,
    drop_constant: DropConstant = None,
    drop_missing: DropMissing = None,
    size: Size = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train models that differ in one thing, on several seeds, and write page.html and results.json."""
    if name is None:
        return _list(as_json)
    from pyrogen.experiments.config import prepare
    from pyrogen.recipes.options import parse_pairs

    given = given_options(target=target, categorical=categorical or None, size=size, steps=steps)
    given |= given_options(drop_constant=drop_constant, drop_missing=drop_missing)
    given |= parse_pairs(set_ or [], "--set")
    run = prepare(name, data, out=out, data_root=data_root, seeds=seeds, seed=seed, device=device, **given)
    return run_and_show(run, as_json)


def run_and_show(run: "Run[ExperimentConfig]", as_json: bool, changed_data: bool = False) -> None:
    """Run or continue an experiment, if asked to with changed data, and print its table and what it shows."""
    from pyrogen.experiments.run import run_experiment

    if process():
        return  # the first of several processes does the whole
    with resumable(run.path):
        card = run_experiment(run, show=console.display(), changed_data=changed_data)
    findings = borderless_table("what it shows")
    for sentence in card["findings"]:
        findings.add_row(sentence)
    print_card(card, (experiment_table(card), findings), as_json)
    message(f"page: {run.path / 'page.html'}")


def _list(as_json: bool) -> None:
    from pyrogen.experiments import EXPERIMENTS

    rows = {name: (entry.differs, entry.question) for name, entry in EXPERIMENTS.items()}
    show_list("experiment", ("what differs", "question"), rows, as_json)
