"""``pyrogen interpolate``, ``alter``, ``outliers``, ``restore`` and ``cluster``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli.arguments import Folder, Seed
from pyrogen.cli.codes import OtherData, Out, in_coordinates, rows_of, write_arrays, write_data
from pyrogen.cli.console import message
from pyrogen.cli.sample import class_number
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor


AREAS = {
    "left": (0, 1, 0, 0.5),
    "right": (0, 1, 0.5, 1),
    "top": (0, 0.5, 0, 1),
    "bottom": (0.5, 1, 0, 1),
    "quadrant": (0.5, 1, 0, 0.5),
}
"""Parts of an image that masks show: from and to, in height and in width."""


def interpolate(
    folder: Folder,
    out: Out,
    data: OtherData = None,
    n: Annotated[int, typer.Option("--n", min=1, max=10_000, help="Number of paths.")] = 8,
    steps: Annotated[int, typer.Option(min=2, max=1000, help="Points of each path.")] = 9,
    path: Annotated[str, typer.Option(help="linear, spherical or geodesic.")] = "linear",
    seed: Seed = 0,
) -> None:
    """Draw paths between random pairs of data; between latent draws for a model without an encoder."""
    import torch

    from pyrogen import use
    from pyrogen.random import derive, scoped_seed
    from pyrogen.training.opened import open

    opened = open(folder)
    model: Any = opened.model
    if use.has_codes(model):
        x, y, _ = rows_of(opened, data, seed)
        if len(x) < 2 * n:
            raise ConfigError(f"{n} paths need {2 * n} data; there are {len(x)}")
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive(seed, "ends")))[: 2 * n]
        first, last = x[rows[:n]], x[rows[n:]]
        found = use.interpolate(model, first, last, None if y is None else y[rows[:n]], steps=steps, path=path)
    else:
        with scoped_seed(derive(seed, "ends")):
            first, last = model.prior(n), model.prior(n)
        found = use.interpolate(model, first, last, steps=steps, path=path, codes=True)
    if out.endswith(".npz"):
        write_arrays(
            out, codes=found.codes, data=opened.space.to_user(found.data.flatten(0, 1)).unflatten(0, (n, steps))
        )
    else:
        write_data(opened, out, found.data.flatten(0, 1), columns=steps)


def alter(
    folder: Folder,
    out: Out,
    towards: Annotated[str, typer.Option(help="Class of the examples that have the attribute.")],
    away: Annotated[
        str | None, typer.Option(help="Class of examples that lack it; then along the difference of both.")
    ] = None,
    data: OtherData = None,
    alpha: Annotated[float, typer.Option(help="How far: 0 not at all, 1 by the whole difference.")] = 1.0,
    n: Annotated[int, typer.Option("--n", min=1, max=10_000, help="Number of data.")] = 32,
    seed: Seed = 0,
) -> None:
    """Move the codes of data towards the mean code of a class of the training data."""
    from pyrogen import use
    from pyrogen.training.opened import open

    opened = open(folder)
    classes = opened.description.classes
    if not classes:
        raise ConfigError(f"the data of {folder} have no classes")
    train, *rest = opened.data.with_side_information(None).train.tensors(seed)
    having, lacking = (
        None if name is None else train[rest[0] == class_number(name, classes)] for name in (towards, away)
    )
    assert having is not None
    x, y, _ = rows_of(opened, data, seed)
    if y is not None:
        raise ConfigError(
            f"{opened.config.model} is conditional on y: draw another class with `pyrogen sample --label`"
        )
    found = use.alter(opened.model, x[:n], having, lacking, alpha=alpha)
    if out.endswith(".png"):
        write_data(opened, out, x[:n], beneath=found)
    else:
        write_data(opened, out, found)


def outliers(
    folder: Folder,
    out: Annotated[str, typer.Option("--out", help="FILE.csv: name or row, score, p-value, adjusted p-value.")],
    data: OtherData = None,
    score: Annotated[
        str | None,
        typer.Option(help="likelihood, typicality, complexity, residual, reconstruction, code or critic."),
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="FILE.png: a picture of the strangest images.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=10**6, help="Importance samples per datum.")] = 100,
    seed: Seed = 0,
) -> None:
    """Rank data by how strange they are to the model, with p-values and control of false discoveries."""
    import numpy as np

    from pyrogen import use
    from pyrogen.cli.sample_files import csv_rows
    from pyrogen.training.opened import open

    opened = open(folder)
    rows, files = opened.rows(data)
    x, y, _ = in_coordinates(opened, rows, seed)
    found = use.find_outliers(opened.model, opened.data, x, y, score=score, k=k, seed=seed)
    order = found.strangest.cpu()
    names = np.array(files, dtype=object) if files else np.arange(len(rows))
    table = {
        "file" if files else "row": names[order.numpy()],
        found.score: found.values.cpu()[order].numpy(),
        "p_value": found.p_values.cpu()[order].numpy(),
        "adjusted_p_value": found.adjusted.cpu()[order].numpy(),
    }
    if not out.endswith(".csv"):
        raise ConfigError(f"--out must end in .csv; got {out!r}")
    write_whole(out, csv_rows(table))
    few = int((found.adjusted <= 0.05).sum())
    message(f"wrote {out}: {few:,} of {len(x):,} data are outliers at a false discovery rate of 5% ({found.score})")
    if sheet is not None:
        write_data(opened, sheet, x[order[:64].to(x.device)])


def restore(
    folder: Folder,
    out: Out,
    data: OtherData = None,
    mask: Annotated[
        str | None,
        typer.Option(help="What is seen: left, right, top, bottom, quadrant, random:SHARE, or FILE.npy of booleans."),
    ] = None,
    downsample: Annotated[int | None, typer.Option(min=2, max=10_000, help="Seen are means of N x N pixels.")] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Seen is the mean of the channels.")] = False,
    noise: Annotated[float, typer.Option(min=0, help="Standard deviation of the noise in what is seen.")] = 0.0,
    n: Annotated[int, typer.Option("--n", min=1, max=10_000, help="Number of data.")] = 8,
    draws: Annotated[int, typer.Option(min=1, max=10_000, help="Draws for each datum.")] = 8,
    seed: Seed = 0,
) -> None:
    """Complete, enlarge, colour or denoise images: draws from p(x | y) and their mean, given y = A x + noise."""
    import torch

    from pyrogen import use
    from pyrogen.random import derive, scoped_seed
    from pyrogen.training.opened import open

    opened = open(folder)
    x, _, _ = rows_of(opened, data, seed)
    x = x[:n]
    operator = _operator(tuple(x.shape[1:]), mask, downsample, grey, noise, seed)
    with scoped_seed(derive(seed, "seen")):
        y = operator(x)
        y = y + noise * torch.randn_like(y)
    found = use.restore(opened.model, y, operator, tuple(x.shape[1:]), noise=noise, draws=draws, seed=seed)
    message(f"{found.method} of {len(x)} data")
    if out.endswith(".npz"):
        to_user = opened.space.to_user
        drawn = to_user(found.draws.flatten(0, 1)).unflatten(0, (len(x), draws))
        write_arrays(out, data=to_user(x), mean=found.mean, draws=drawn)
    else:
        sheet = torch.cat([x[:, None], found.mean[:, None], found.draws], 1)
        write_data(opened, out, sheet.flatten(0, 1), columns=draws + 2)


def _operator(shape: tuple[int, ...], mask: str | None, factor: int | None, grey: bool, noise: float, seed: int) -> Any:
    """The operator that the options name."""
    from pyrogen import use

    given = [name for name, value in (("--mask", mask), ("--downsample", factor), ("--grey", grey)) if value]
    if len(given) > 1 or not (given or noise):
        raise ConfigError(
            f"expected one of --mask, --downsample and --grey, or --noise alone; got {', '.join(given) or 'none'}"
        )
    if mask is not None:
        return use.Mask(seen_values(mask, shape, seed))
    return use.Downsample(factor) if factor is not None else use.Grey() if grey else use.Noise()


def seen_values(mask: str, shape: tuple[int, ...], seed: int) -> "Tensor":
    """The mask that a text names, ``bool (*shape)``.

    Raises:
        ConfigError: for an unknown name, or a file of another shape.
    """
    from pathlib import Path

    import torch

    from pyrogen.data.sources.arrays import read_arrays
    from pyrogen.random import generator

    name, _, share = mask.partition(":")
    if len(shape) == 3 and mask in AREAS:
        seen = torch.zeros(shape, dtype=torch.bool)
        top, bottom, left, right = AREAS[mask]
        high, wide = shape[-2:]
        seen[..., int(top * high) : int(bottom * high), int(left * wide) : int(right * wide)] = True
        return seen
    if name == "random":
        try:
            level = float(share)
        except ValueError:
            level = -1.0
        if not 0 < level < 1:
            raise ConfigError(f"--mask random:SHARE needs a share between 0 and 1; got {share!r}")
        pixels = torch.rand(shape[-2:] if len(shape) == 3 else shape, generator=generator(seed, "mask")) < level
        return pixels.expand(shape).clone()
    if not mask.endswith(".npy"):
        known = [*(AREAS if len(shape) == 3 else ()), "random:SHARE", "FILE.npy"]
        raise ConfigError(f"unknown mask {mask!r} (known: {', '.join(known)})")
    found = torch.as_tensor(next(iter(read_arrays(Path(mask)).values()))).bool()
    if found.shape not in (shape, shape[-2:]):
        raise ConfigError(f"{mask}: expected a mask of shape {shape}, got {tuple(found.shape)}")
    return found.expand(shape).clone()


def cluster(
    folder: Folder,
    out: Annotated[str, typer.Option("--out", help="FILE.csv: the cluster of each row.")],
    k: Annotated[
        int | None, typer.Option("--k", min=1, max=100_000, help="Clusters; by default as many as classes.")
    ] = None,
    data: OtherData = None,
    method: Annotated[str, typer.Option(help="kmeans or gaussian.")] = "kmeans",
    seed: Seed = 0,
) -> None:
    """Cluster the codes of data."""
    import numpy as np

    from pyrogen import use
    from pyrogen.cli.sample_files import csv_rows
    from pyrogen.cli.tables import score_table, show
    from pyrogen.training.opened import open

    opened = open(folder)
    classes = opened.description.classes
    k = k or len(classes)
    if not k:
        raise ConfigError("the data have no classes: give the number of clusters by --k")
    if not out.endswith(".csv"):
        raise ConfigError(f"--out must end in .csv; got {out!r}")
    x, y, labels = rows_of(opened, data, seed)
    codes = use.encode(opened.model, x, y)
    found, scores = use.cluster(codes, k, labels, method=method, seed=seed)
    write_whole(out, csv_rows({"row": np.arange(len(x)), "cluster": found.numpy()}))
    message(f"wrote {out}")
    if scores:
        show(score_table({name: score.as_dict() for name, score in scores.items()}, f"{k} clusters against classes"))
