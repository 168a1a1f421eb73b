"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer


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
DEVICE_HELP = "auto, cpu or cuda."

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
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Run folder, created by `pyrogen train`.")]
Seed = Annotated[int, typer.Option("--seed", help=f"{SEED_HELP}.")]
Device = Annotated[str, typer.Option("--device", help=DEVICE_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print only one JSON object to standard output.")]
