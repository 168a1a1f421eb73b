"""``pyrogen sample``: draw samples from a trained model."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli.arguments import Folder, Seed, data_names
from pyrogen.cli.console import message
from pyrogen.errors import ConfigError, DataError, unknown
from pyrogen.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from pyrogen.data.dataset import Dataset
    from pyrogen.training.opened import Opened

SUFFIXES = (".png", ".npy", ".csv", ".parquet")
TABLES = (".csv", ".parquet")
IMAGES_PER_CLASS = 10
EACH = ("--per-class", "--per-cluster")

Number = Annotated[
    int | None,
    typer.Option(
        "--n",
        min=1,
        max=10**9,
        help="Number of samples, of each class with --per-class, of each cluster with --per-cluster; by default 64 "
        f"images ({IMAGES_PER_CLASS} of each class or cluster) or 2,000 rows.",
    ),
]
PerClass = Annotated[
    bool, typer.Option("--per-class", help="Draw --n samples of each class, for a class-conditional model.")
]
PerCluster = Annotated[
    bool, typer.Option("--per-cluster", help="Draw --n samples of each cluster, for a model that clusters.")
]


def sample(
    folder: Folder,
    n: Number = None,
    label: Annotated[
        str | None, typer.Option(help="Class to sample, by name or number, for a class-conditional model.")
    ] = None,
    per_class: PerClass = False,
    per_cluster: PerCluster = False,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(
            help="FILE.png: picture; FILE.csv, FILE.parquet: rows of a table; FILE.npy: samples; FOLDER/: PNG files."
        ),
    ] = None,
    means: Annotated[
        bool, typer.Option("--means", help="Picture the means of p(x | z), without observation noise, not draws.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Other test data than the run's, whose images are completed, or which a table's picture shows.",
            autocompletion=data_names,
        ),
    ] = None,
) -> None:
    """Draw samples from a trained model."""
    from pyrogen.protocols import Sampler
    from pyrogen.report.pictures import picture_size
    from pyrogen.training.opened import open

    target = out or str(folder / "samples.png")
    form, opened = output_form(target), open(folder)
    model, known = opened.model, opened.without_rows
    if not isinstance(model, Sampler):
        raise ConfigError(f"{opened.config.model} cannot sample: it only reconstructs data")
    group = _group(label, per_class, per_cluster)
    n = n or (IMAGES_PER_CLASS if group in EACH and known.is_image else picture_size(known))
    given = _given_data(opened, data, form == ".png" and not known.is_image)
    label_name = opened.config.target or "label"
    if per_cluster:
        model, label_name = _clusters(model), "cluster"
        given = replace(given, classes=tuple(map(str, range(model.condition.features))))
    labels = choose_labels(model, given.classes, n, label, group, seed)
    _check_form(form, target, known.is_image, group, means)
    count = n if labels is None else len(labels)
    _check_memory(count, known.dims)
    if form != ".png":
        _write_samples(model, given, target, form, count, seed, labels, label_name)
    elif known.is_image:
        write_whole(target, _image_grid(model, given, count, seed, labels, means, n if group in EACH else None))
    else:
        write_whole(target, _table_picture(opened, given, count, seed, labels, label is not None))
    message(f"wrote {target}")


def _group(label: str | None, per_class: bool, per_cluster: bool) -> str | None:
    """The option that says which classes or clusters are sampled; ``None`` without one.

    Raises:
        ConfigError: for several.
    """
    given = {"--label": label is not None, "--per-class": per_class, "--per-cluster": per_cluster}
    chosen = [option for option, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise ConfigError(f"{chosen[0]} and {chosen[1]} exclude each other")
    return chosen[0] if chosen else None


def _clusters(model: Any) -> Any:
    """A sampler of a model's clusters.

    Raises:
        ConfigError: if the model does not cluster.
    """
    from pyrogen.explicit.gmvae import GMVAE, ComponentSampler

    if not isinstance(model, GMVAE):
        raise ConfigError(f"--per-cluster needs a model that clusters, such as gmvae; this is a {type(model).__name__}")
    return ComponentSampler(model)


def _given_data(opened: "Opened", data: str | None, table_picture: bool) -> "Dataset":
    """The data that samples are completed from, or shown beside.

    Raises:
        ConfigError: if data are given and neither is the case.
    """
    known = opened.without_rows
    completes = known.test.side_fn is not None
    if data is not None:
        if not (completes or table_picture):
            raise ConfigError(f"--data {data}: these samples need no data")
        return opened.load(data)
    return opened.data if completes else known


def output_form(out: str) -> str:
    """The form of the output: one of ``SUFFIXES``, or ``folder``.

    Raises:
        ConfigError: for another suffix, or for Parquet without pyarrow.
    """
    from pyrogen.cli.sample_files import require_pyarrow

    if out.endswith(("/", os.sep)) or os.path.isdir(out):
        return "folder"
    suffix = Path(out).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"--out must end in {', '.join(SUFFIXES)} or, for a folder of images, in /; got {out!r}")
    if suffix == ".parquet":
        require_pyarrow()
    return suffix


def _check_form(form: str, out: str, is_image: bool, group: str | None, means: bool) -> None:
    if is_image and form in TABLES:
        raise ConfigError(
            f"--out {out}: the samples are images; write them to a .png, a .npy or a folder (ending in /)"
        )
    if not is_image and form == "folder":
        raise ConfigError(f"--out {out}: the samples are rows of a table; write them to a .csv, .parquet, .npy or .png")
    if form == ".png" and group in EACH and not is_image:
        raise ConfigError(f"{group} with a .png needs images; write the rows of a table to a .csv")
    if means and (form != ".png" or not is_image):
        raise ConfigError(f"--means needs a picture of images (--out FILE.png); got --out {out}")


def _check_memory(count: int, dims: int) -> None:
    from pyrogen.data.sources.untrusted import memory_excess

    if excess := memory_excess(3 * 4 * count * dims):  # the parts of float32, the whole, and what is written
        raise ConfigError(f"{count:,} samples: {excess}")


def choose_labels(
    model: Any, classes: tuple[str, ...], n: int, label: str | None, group: str | None, seed: int
) -> "Tensor | None":
    """The labels of the samples: the given one, ``n`` of each class, or ``n`` from p(y); ``None`` without classes.

    Raises:
        ConfigError: if the model is not class-conditional, or there is no such class.
    """
    import torch

    from pyrogen.nn.conditions import Label
    from pyrogen.random import derive, scoped_seed

    condition = getattr(model, "condition", None)
    if not isinstance(condition, Label):
        if group is not None:
            raise ConfigError(f"{group} needs a class-conditional model; this model is not one")
        return None
    device = condition.probs.device
    if label is not None:
        return torch.full((n,), class_number(label, classes), device=device)
    if group in EACH:
        return torch.arange(condition.features, device=device).repeat_interleave(n)
    with scoped_seed(derive(seed, "labels")):
        return condition.draw(n)


def class_number(label: str, classes: tuple[str, ...]) -> int:
    """The number of a class that is given by its name or, if no class has this name, its number."""
    if label in classes:
        return classes.index(label)
    if label.isdecimal() and len(label) < 10 and int(label) < len(classes):
        return int(label)
    raise unknown("class", label, classes)


def _write_samples(
    model: Any,
    data: "Dataset",
    target: str,
    form: str,
    n: int,
    seed: int,
    labels: "Tensor | None",
    label_name: str,
) -> None:
    """Write ``n`` samples in the user's units."""
    from pyrogen.cli.sample_files import csv_rows, npy_array, parquet_rows, user_columns, write_images
    from pyrogen.measure.samples import draw_samples

    samples = data.space.to_user(draw_samples(model, data, n, seed, labels)).cpu()
    if form == "folder":
        write_images(Path(target), samples, labels, data.classes)
    elif form == ".npy":
        write_whole(target, npy_array(samples))
    else:
        table = user_columns(samples, data.space.columns, labels, data.classes, label_name)
        write_whole(target, csv_rows(table) if form == ".csv" else parquet_rows(table))


def _image_grid(
    model: Any, data: "Dataset", n: int, seed: int, labels: "Tensor | None", as_means: bool, columns: int | None
) -> bytes:
    """A grid of ``n`` draws, or of the means of p(x | z).

    Raises:
        ConfigError: for means of a model that has none.
    """
    from pyrogen.data.shown.image_grid import grid_png
    from pyrogen.report.pictures import draws, means

    images = (means if as_means else draws)(model, data, n, seed, labels)
    if images is None:
        raise ConfigError(f"--means: a {type(model).__name__} has no mean of p(x | z)")
    return grid_png(images, columns=columns)


def _table_picture(
    opened: "Opened", data: "Dataset", n: int, seed: int, labels: "Tensor | None", one_class: bool
) -> bytes:
    """A picture of ``n`` rows of a table, beside test data if they are at hand."""
    from pyrogen.report.pictures import ROWS, draws
    from pyrogen.report.plots import samples_png

    reference = None
    try:
        x, *rest = (data if data.has_rows else opened.data).test.tensors()
        if one_class and labels is not None and rest and bool((rest[0] == labels[0]).any()):
            x = x[rest[0] == labels[0]]
        reference = data.space.to_user(x[:ROWS]).cpu()
    except DataError as error:
        message(f"the picture has no test data: {error}")
    drawn = draws(opened.model, data, n, seed, labels)
    return samples_png(drawn, reference, columns=data.space.columns)
