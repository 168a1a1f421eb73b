"""``pyrogen interpolate`` and ``alter``."""

from typing import Annotated, Any

import typer

from pyrogen.cli.arguments import Folder, Seed
from pyrogen.cli.sample import class_number
from pyrogen.cli.uses.codes import OtherData, Out, require_suffix, rows_of, write_arrays, write_changed, write_data
from pyrogen.errors import ConfigError


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
    from pyrogen.random import derive, generator, scoped_seed
    from pyrogen.training.opened import open

    require_suffix(out, ".npz", ".png")
    opened = open(folder)
    model: Any = opened.model
    if use.has_codes(model):
        x, y, _ = rows_of(opened, data, seed)
        if len(x) < 2 * n:
            raise ConfigError(f"{n} paths need {2 * n} data; there are {len(x)}")
        rows = torch.randperm(len(x), generator=generator(seed, "ends"))[: 2 * n]
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

    require_suffix(out, ".npz", ".png")
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
    write_changed(opened, out, x[:n], found)
