"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from pyrogen.cli import console


def model_names() -> list[str]:
    """The names of all models."""
    from pyrogen.recipes import RECIPES

    return sorted(RECIPES)


def experiment_names() -> list[str]:
    """The names of all experiments."""
    from pyrogen.experiments import EXPERIMENTS

    return sorted(EXPERIMENTS)


def data_names() -> list[str]:
    """The names of all data sets."""
    from pyrogen.data.datasets import names

    return sorted(names())


DATA_HELP = (
    "Data set name (`pyrogen data`), a folder or .zip of images, a table (.csv, .parquet) or arrays (.npy, .npz, .pt)"
)
SEED_HELP = "Seed from which all random streams are derived"
DEVICE_HELP = "auto, cpu or cuda (or gpu)."

Data = Annotated[str, typer.Option("--data", help=f"{DATA_HELP}.", autocompletion=data_names)]
Root = Annotated[
    str | None,
    typer.Option("--data-root", envvar="PYROGEN_DATA", help="Folder of the named data sets, in torchvision's layout."),
]
Target = Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="Column that holds the labels.")]
Categorical = Annotated[
    list[str] | None,
    typer.Option("--categorical", metavar="COLUMN", help="Column of numbers that are categories; repeatable."),
]
DropConstant = Annotated[bool | None, typer.Option("--drop-constant", help="Leave constant columns out.")]
DropMissing = Annotated[bool | None, typer.Option("--drop-missing", help="Leave rows with missing values out.")]
Size = Annotated[
    int | None,
    typer.Option("--size", metavar="N", help="Resize image files to N x N pixels, cropping the longer side."),
]
Strategy = Annotated[
    str, typer.Option("--strategy", help="How the processes of torchrun share the training: ddp, each has all weights.")
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="SPACE",
        help="Feature space in which samples are compared: values, classifier or inception; repeatable.",
    ),
]
Annealed = Annotated[
    bool, typer.Option("--ais", help="Bound log p(x) of a model with a decoder by annealed importance sampling.")
]
AnnealedOrNot = Annotated[
    bool | None,
    typer.Option(
        "--ais/--no-ais",
        help="Bound log p(x) of models with a decoder by annealed importance sampling, up to 10 minutes a model; "
        "by default where a datum has few values.",
    ),
]
Gap = Annotated[
    float | None,
    typer.Option("--gap", metavar="NATS", help="Gap of the bounds at which --ais ends; 1 by default."),
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", metavar="M", help="Time of --ais for a model; unlimited by default.")
]
Model = Annotated[str | None, typer.Argument(help="Name of a model (`pyrogen models`).", autocompletion=model_names)]
OwnData = Annotated[
    str | None, typer.Option("--data", help=f"{DATA_HELP}; digits by default.", autocompletion=data_names)
]
Out = Annotated[Path | None, typer.Option(help="Run folder; by default an unused name under runs/.")]
Steps = Annotated[int | None, typer.Option(help="Number of optimiser steps.")]
BatchSize = Annotated[int | None, typer.Option(help="Batch size.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate.")]
OwnSeed = Annotated[int | None, typer.Option("--seed", help=f"{SEED_HELP}; 0 by default.")]
OwnDevice = Annotated[str | None, typer.Option("--device", help=DEVICE_HELP)]
Precision = Annotated[
    str | None, typer.Option(help="32, bf16 (mixed precision), or tf32 or bf16-products (rounded products).")
]
Compile = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="Compile loss and gradients; default for runs of 4000 steps or more."),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Model option, e.g. latent=10; repeatable.")
]
From = Annotated[
    Path | None,
    typer.Option("--from", metavar="DIR", help="Run folder; start from its weights, those it is sampled with."),
]
Patience = Annotated[
    int | None,
    typer.Option(metavar="N", help="End when N validation losses in a row, one at each checkpoint, do not improve."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file such as a run's config.toml; command-line options override it."),
]
Sweep = Annotated[
    bool,
    typer.Option("--sweep", help="Train and compare a model for each combination of values, as in --set latent=8,16."),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Run folder, created by `pyrogen train`.")]
Seed = Annotated[int, typer.Option("--seed", help=f"{SEED_HELP}.")]
Device = Annotated[str, typer.Option("--device", help=DEVICE_HELP)]
Log = Annotated[
    str | None,
    typer.Option("--log", metavar="TOOL", help="Log rows and pictures for another tool too: tensorboard or mlflow."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print results, warnings and errors alone.", callback=console.be_quiet),
]
Json = Annotated[bool, typer.Option("--json", help="Print only one JSON object to standard output.")]
