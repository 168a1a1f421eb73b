"""``pyrogen restore``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli.arguments import Folder, Seed
from pyrogen.cli.console import message
from pyrogen.cli.uses.codes import OtherData, Out, require_suffix, rows_of, write_arrays, write_data
from pyrogen.errors import ConfigError

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

    require_suffix(out, ".npz", ".png")
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
        write_arrays(out, data=to_user(x), mean=to_user(found.mean), draws=drawn)
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
